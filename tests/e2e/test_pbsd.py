# SPDX-License-Identifier: Apache-2.0
"""The test server says what the real one says, refuses what it refuses, and fails as it is told to.

Expected texts, headers and frames are those recorded of a real server 3.2.4, or measured with 4.2.3.
"""
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import zlib

import h2.settings
import pytest

from golden import SETS
from harness import IS_SANITIZED, open_fd, wait_until
from pbs_client import (SECONDS, Client, Tunnel, context, digests_of, logged_in, masked, reader_query, read_head,
                        upgrade)
from pbsd import PASSWORD, USER, Pbsd

if IS_SANITIZED:
    pytest.skip("nothing of the program runs here", allow_module_level=True)

HOST = "127.0.0.1"
GROUP, STAMP, NAME = ("vm", "100"), 1717372800, "vm/100/2024-06-03T00:00:00Z"
ARCHIVE = "drive-scsi1.img.fidx"
SNAPSHOT = (*GROUP, STAMP)
DOWNLOAD = f"/download?file-name={ARCHIVE}"
ZERO_DIGEST = "0" * 64


def options(version=3):
    return ["--auth-delay=0", f"--version={version}", "--token=tok1=s3 cr?t", "--user=none=x", "--user=backup=x",
            "--role=backup=backup", "--user=reader=x", "--role=reader=reader"]


@pytest.fixture(scope="module")
def servers(unpacked):
    """One for each version, started when it is first wanted."""
    if not SETS:
        pytest.skip("no golden datastore here")
    started = {}

    def get(version):
        if version not in started:
            started[version] = Pbsd({"store": SETS[0].store}, *options(version))
        return started[version]
    yield get
    for server in started.values():
        server.stop()


def fresh(server):
    server.control("clear")
    server.counters(reset=True)
    return server


@pytest.fixture
def server3(servers):
    return fresh(servers(3))


@pytest.fixture
def server4(servers):
    return fresh(servers(4))


@pytest.fixture
def client(server3):
    return logged_in(server3)


@pytest.fixture
def tunnel(client):
    with Tunnel(client, reader_query("store", SNAPSHOT)) as opened:
        yield opened


@pytest.fixture
def own(store):
    """A server over a copy that may be damaged."""
    with Pbsd({"store": store}, *options()) as started:
        yield started


def form(**pairs):
    return urllib.parse.urlencode(pairs)


def chunk_path(store, digest):
    return os.path.join(store, ".chunks", digest[:4], digest)


def get_chunk(tunnel, digest):
    return tunnel.get(f"/chunk?digest={digest}")


def opened_digests(tunnel):
    return digests_of(tunnel.get(DOWNLOAD).body)


def a_chunk(tunnel, directory):
    """The digest and the bytes of a chunk of some length, which the tunnel may read from now on."""
    for digest in opened_digests(tunnel):
        with open(chunk_path(directory, digest), "rb") as chunk:
            data = chunk.read()
        if len(data) > 10000:
            return digest, data
    raise AssertionError("no large chunk")


# Log-in

def test_log_in_by_form_and_by_json(server3):
    client = Client(server3)
    said = [client.login(form(username=USER, password=PASSWORD)),
            client.login(json.dumps({"username": USER, "password": PASSWORD}), "application/json")]
    for answer in said:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"
        assert list(answer.data) == ["CSRFPreventionToken", "ticket", "username"]
        # The user is there twice, with two letters less than in the record.
        assert len(answer.body) == 234 - 2 * len("oracle@pbs") + 2 * len(USER)
        assert len(answer.data["CSRFPreventionToken"]) == 52
        assert answer.data["ticket"].startswith(f"PBS:{USER}:") and answer.data["username"] == USER
        assert int(answer.data["ticket"].split(":")[2], 16) == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("body, status, text", [
    (form(username=USER, password="no"), 401, "permission check failed."),
    (form(username="nouser@pbs", password="x"), 401, "permission check failed."),
    (form(username="test@nope", password="x"), 401, "permission check failed."),
    (form(username="test", password="x"), 400,
     "parameter verification failed - 'username': value does not match the regex pattern"),
    (form(username=USER), 400,
     "parameter verification failed - 'password': parameter is missing and it is not optional."),
    (form(username=USER, password=PASSWORD, foo=1), 400,
     "parameter verification failed - 'foo': schema does not allow additional properties."),
    (form(username=USER, password=PASSWORD) + "&password=x", 400,
     "parameter verification failed - 'password': duplicate parameter."),
])
def test_log_in_refused(server3, body, status, text):
    said = Client(server3).login(body)
    assert said == (status, text)
    assert said.headers["content-type"] == "application/json;charset=UTF-8"


def test_a_ticket_is_as_good_as_the_password(server3):
    client = Client(server3)
    ticket = client.ticket()
    assert client.ticket(password=ticket)
    assert client.login(form(username="reader@pbs", password=ticket)) == (401, "permission check failed.")


# Authentication

def damaged(ticket):
    return ticket[:-8] + ("A" if ticket[-8] != "A" else "B") + ticket[-7:]


def aged(ticket):
    head, user, stamp, *rest = ticket.split(":")
    return ":".join([head, user, f"{int(stamp, 16) - 7201:08X}", *rest])


@pytest.mark.parametrize("cookie, reason", [
    (lambda t: "PBSAuthCookie=" + t, None),
    (lambda t: "PBSAuthCookie=" + urllib.parse.quote(t, safe=""), None),
    (lambda t: f"PBSAuthCookie=PBS:x; __Host-PBSAuthCookie={t}", None),
    (lambda t: f"__Host-PBSAuthCookie=PBS:x; PBSAuthCookie={t}", "invalid ticket"),
    (lambda t: "PBSAuthCookie=" + damaged(t), "ticket with invalid signature"),
    (lambda t: "PBSAuthCookie=" + aged(t), "invalid ticket - expired"),
    (lambda t: "other=" + t, "no authentication credentials provided."),
])
def test_tickets_in_cookies(server3, cookie, reason):
    said = Client(server3, Cookie=cookie(Client(server3).ticket())).get("version")
    if reason:
        assert said == (401, f"authentication failed - {reason}")
        assert "content-type" not in said.headers
    else:
        assert said == (200, '{"data":{"release":"4","repoid":"pbsd","version":"3.2"}}')


@pytest.mark.parametrize("value, reason", [
    ("PBSAPIToken test@pbs!tok1:s3%20cr%3Ft", None),
    ("PBSAPIToken=test@pbs!tok1:s3 cr?t", None),
    ("PBSAPIToken=test@pbs!tok1:wrong", "invalid credentials"),
    ("PBSAPIToken=test@pbs!nope:x", "user account or token disabled or expired."),
    ("PBSAPIToken=test@pbs!tok1=s3", "invalid token name"),
    ("Basic eDp5", "no authentication credentials provided."),
])
def test_api_tokens(server3, value, reason):
    said = Client(server3, Authorization=value).get("version")
    assert said.status == (401 if reason else 200)
    assert not reason or said.text == f"authentication failed - {reason}"


def test_what_is_no_get_needs_the_csrf_token(server3, client):
    missing = (401, "authentication failed - missing CSRF prevention token")
    assert client.call("POST", "version") == missing
    said = client.call("HEAD", "version")
    assert (said.status, said.headers["content-length"], said.body) == (401, "53", b"")
    token = Client(server3).login(form(username=USER, password=PASSWORD)).data["CSRFPreventionToken"]
    headers = {"CSRFPreventionToken": token}
    assert client.call("POST", "version", headers=headers) == (404, "Path '/api2/json/version' not found.")
    assert client.call("POST", "version", headers={"CSRFPreventionToken": token[:-1]}).status == 401


def test_a_401_takes_its_time_and_holds_up_nobody_else(server3):
    seconds = 0.4
    client = logged_in(server3)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        server3.control("set", auth_delay=seconds * 1000)
        try:
            begin = time.monotonic()
            slow = tunnel.ask(f"/chunk?digest={ZERO_DIGEST}")
            assert tunnel.get("/").status == 200
            assert not tunnel.said[slow].is_over
            assert tunnel.wait(slow) == (401, f"download chunk {ZERO_DIGEST} not allowed")
            assert time.monotonic() - begin >= seconds
            begin = time.monotonic()
            assert Client(server3).get("version").status == 401
            assert time.monotonic() - begin >= seconds
        finally:
            server3.control("set", auth_delay=0)


# Lists

NO_ENTRY = (400, "ENOENT: No such file or directory")
BAD = "parameter verification failed - "


@pytest.mark.parametrize("path, query, expected", [
    ("snapshots", {"ns": "nosuch"}, NO_ENTRY),
    ("namespace", {"parent": "nosuch"}, NO_ENTRY),
    ("groups", {"ns": "nosuch"}, NO_ENTRY),
    ("snapshots", {"ns": "../x"}, (400, BAD + "'ns': value does not match the regex pattern")),
    ("snapshots", {"ns": "/".join("abcdefgh")}, (400, BAD + "'ns': value does not match the regex pattern")),
    ("snapshots", {"backup-type": "vm", "backup-id": "nosuch"}, (200, '{"data":[]}')),
    ("snapshots", {"backup-type": "foo"},
     (400, BAD + "'backup-type': value 'foo' is not defined in the enumeration.")),
    ("snapshots", {"foo": 1}, (400, BAD + "'foo': schema does not allow additional properties.")),
    ("files", {"backup-type": "vm", "backup-id": "100", "backup-time": STAMP + 1}, NO_ENTRY),
    ("files", {"backup-type": "vm", "backup-id": "100", "backup-time": "abc"},
     (400, BAD + "'backup-time': invalid digit found in string")),
    ("../../version", {}, (400, "illegal path component")),
    ("nosuch", {}, (404, "Path '/api2/json/admin/datastore/store/nosuch' not found.")),
])
def test_lists_refused(client, path, query, expected):
    assert client.call("GET", f"admin/datastore/store/{path}", query) == expected


def test_stores_and_paths_that_are_not_there(client):
    assert client.get("admin/datastore/nosuch/snapshots") == (400, "no such datastore 'nosuch'")
    assert client.get("nosuch") == (404, "Path '/api2/json/nosuch' not found.")
    said = client.call("GET", "../../nosuch", "x=1")
    assert said.status == 400
    assert client.call("GET", "version", "x" * 3100).status == 414


def test_the_small_calls(client):
    assert client.get("admin/datastore").text == '{"data":[{"comment":null,"store":"store"}]}'
    assert set(client.get("admin/datastore/store/status").data) == {"avail", "total", "used"}
    assert client.call("GET", "/version").status == 200, "two slashes are one"
    said = client.get("admin/datastore/store/snapshots")
    assert said.headers["transfer-encoding"] == "chunked" and "content-length" not in said.headers


def key_of(row):
    return row["backup-type"], row["backup-id"], row.get("backup-time", 0)


def name_of(file):
    return file if isinstance(file, str) else file["filename"]


def normal(rows):
    """Lists come in any order."""
    return sorted(({**row, "files": sorted(row["files"], key=name_of)} for row in rows), key=key_of)


@pytest.mark.parametrize("golden_set", SETS, ids=lambda found: found.name)
def test_lists_equal_what_the_real_server_said(unpacked, golden_set):
    api = golden_set.table("api")
    if not os.path.isdir(api):
        pytest.skip("no recorded answers with this set")
    recorded = {}
    for name in os.listdir(api):
        with open(os.path.join(api, name), encoding="utf-8") as text:
            recorded[name.removesuffix(".json")] = json.load(text)
    with Pbsd({"store": golden_set.store}, *options(4 if "C" in golden_set.name else 3)) as server:
        client, path = logged_in(server), "admin/datastore/store/"
        assert sorted(client.get(path + "namespace").data, key=str) == sorted(recorded["namespace"]["data"], key=str)
        for suffix, query in (("root", {}), ("a", {"ns": "a"}), ("a_b", {"ns": "a/b"})):
            assert normal(client.get(path + "groups", **query).data) == normal(recorded[f"groups-{suffix}"]["data"])
            said = normal(client.get(path + "snapshots", **query).data)
            assert said == normal(recorded[f"snapshots-{suffix}"]["data"])
            for row in said:
                name = "/".join(map(str, key_of(row)))
                files = client.get(path + "files", **{part: row[part] for part in
                                                      ("backup-type", "backup-id", "backup-time")}, **query)
                expected = recorded.get(f"files-{suffix}", {}).get(name)
                assert expected is None or files.data == expected


def test_lists_hold_every_image_of_the_tables(client, golden):
    listed = {}
    for ns in {image.ns for image in golden.images}:
        for row in client.get("admin/datastore/store/snapshots", ns=ns).data:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["backup-time"]))
            for file in row["files"]:
                where = (ns, f"{row['backup-type']}/{row['backup-id']}/{stamp}", file["filename"])
                listed[where] = (file.get("crypt-mode"), file.get("size"))
    for image in golden.images:
        assert listed[image.ns, image.snapshot, image.archive + ".fidx"] == (image.mode, image.size)


def test_an_unfinished_snapshot_is_listed_by_names_alone(own, store):
    path = "admin/datastore/store/snapshots"
    os.unlink(os.path.join(store, NAME, "index.json.blob"))
    row = next(row for row in logged_in(own).get(path).data if key_of(row) == SNAPSHOT)
    assert "size" not in row and all(list(file) == ["filename"] for file in row["files"])


def test_the_manifest_without_a_session(client, golden):
    said = client.get("admin/datastore/store/download", backup_type="vm", backup_id="100", backup_time=STAMP,
                      file_name="index.json.blob")
    with open(os.path.join(golden.store, NAME, "index.json.blob"), "rb") as manifest:
        assert said.body == manifest.read()
    assert said.headers["content-type"] == "application/octet-stream"


def test_deflate_is_raw_in_3_and_wrapped_in_4(client, server4):
    for asked, bits in ((client, -15), (logged_in(server4), 15)):
        said = asked.call("GET", "admin/datastore/store/groups", headers={"Accept-Encoding": "deflate, gzip"})
        assert said.headers["content-encoding"] == "deflate"
        plain = asked.get("admin/datastore/store/groups").body
        assert zlib.decompress(said.body, wbits=bits) == plain
        with Tunnel(asked, reader_query("store", SNAPSHOT)) as tunnel:
            packed = tunnel.get(DOWNLOAD, accept_encoding="deflate")
            assert packed.headers["content-encoding"] == "deflate"
            assert zlib.decompress(packed.body, wbits=bits) == tunnel.get(DOWNLOAD).body


# Rights

def test_a_user_without_rights(server3):
    client = logged_in(server3, "none@pbs", "x")
    assert client.get("admin/datastore").data == []
    missing = "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/store"
    assert client.get("admin/datastore/store/snapshots") == (403, missing)
    assert client.get("admin/datastore/store/snapshots", ns="a/b") == (403, missing + "/a/b")
    said, _, _ = upgrade(client, reader_query("store", SNAPSHOT))
    assert said == (400, "no permissions on /datastore/store")


def test_a_user_who_may_only_back_up_sees_its_own(server3):
    client = logged_in(server3, "backup@pbs", "x")
    assert client.get("admin/datastore/store/snapshots").data == []
    said = client.get("admin/datastore/store/files", backup_type="vm", backup_id="100", backup_time=STAMP)
    assert said == (400, "backup owner check failed (backup@pbs != oracle@pbs)")
    said, _, _ = upgrade(client, reader_query("store", SNAPSHOT))
    assert said == (400, "backup owner check failed!")


def test_a_user_who_may_read(server3):
    client = logged_in(server3, "reader@pbs", "x")
    assert client.get("admin/datastore/store/snapshots").data
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        assert tunnel.get(DOWNLOAD).status == 200


# The upgrade

@pytest.mark.parametrize("more, headers, expected", [
    ({}, {"Upgrade": None}, (400, "missing Upgrade header")),
    ({}, {"Upgrade": "proxmox-backup-reader-protocol-v9"}, (400, "invalid protocol name")),
    ({}, {"Upgrade": "proxmox-backup-protocol-v1"}, (400, "invalid protocol name")),
    ({"backup-time": STAMP + 1}, {}, (400, "snapshot vm/100/2024-06-03T00:00:01Z does not exist.")),
    ({"ns": "nosuch"}, {}, (400, f"snapshot {NAME} does not exist.")),
    ({"store": "nosuch"}, {}, (400, "no such datastore 'nosuch'")),
    ({"store": "nosuch"}, {"Upgrade": None}, (400, "no such datastore 'nosuch'")),
    ({"backup-id": "../x"}, {}, (400, BAD + "'backup-id': value does not match the regex pattern")),
    ({"backup-id": "../x"}, {"Cookie": ""}, (401, "authentication failed - no authentication credentials provided.")),
])
def test_upgrades_refused(client, more, headers, expected):
    said, _, _ = upgrade(client, {**reader_query("store", SNAPSHOT), **more}, headers)
    assert said == expected


def test_upgrades_accepted(server3, client):
    token = Client(server3, Authorization="PBSAPIToken test@pbs!tok1:s3%20cr%3Ft")
    for asking, headers, more in ((client, {}, {}), (token, {}, {}), (client, {"Connection": None}, {"debug": "true"}),
                                  (client, {"Connection": "Upgrade"}, {})):
        said, sock, _ = upgrade(asking, {**reader_query("store", SNAPSHOT), **more}, headers)
        assert said.status == 101
        assert said.headers["connection"] == "upgrade"
        assert said.headers["upgrade"] == "proxmox-backup-reader-protocol-v1"
        sock.close()


def test_a_session_holds_the_shared_lock(server3, client, golden):
    with open_fd(os.path.join(golden.store, NAME)) as fd:
        with Tunnel(client, reader_query("store", SNAPSHOT)):
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_UN)
        assert wait_until(lambda: not server3.counters()["open"])
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        said, _, _ = upgrade(client, reader_query("store", SNAPSHOT))
        assert said == (400, "locked by another operation")


@pytest.mark.parametrize("version, settings", [
    (3, {4: 33554432, 5: 4194304, 6: 16777216}),
    (4, {3: 200, 4: 33554432, 5: 4194304, 6: 16384}),
])
def test_the_servers_preface(servers, version, settings):
    with Tunnel(logged_in(fresh(servers(version))), reader_query("store", SNAPSHOT)) as tunnel:
        tunnel.get("/")
        count = int.from_bytes(tunnel.raw[:3], "big") // 6
        pairs = [tunnel.raw[9 + 6 * i:15 + 6 * i] for i in range(count)]
        assert tunnel.raw[3:9] == b"\4\0\0\0\0\0"
        assert {int.from_bytes(p[:2], "big"): int.from_bytes(p[2:], "big") for p in pairs} == settings
        window = tunnel.raw[9 + 6 * count:]
        assert window[:9] == b"\0\0\4\x08\0\0\0\0\0" and int.from_bytes(window[9:13], "big") == 33488897


# The tunnel

@pytest.mark.parametrize("path, expected, is_typed", [
    (f"/chunk?digest={'A' * 64}", (400, BAD + "'digest': value does not match the regex pattern"), False),
    ("/chunk?digest=abcd", (400, BAD + "'digest': value does not match the regex pattern"), False),
    ("/chunk", (400, BAD + "'digest': parameter is missing and it is not optional."), False),
    (f"/chunk?digest={ZERO_DIGEST}&foo=1",
     (400, BAD + "'foo': schema does not allow additional properties."), False),
    (f"/chunk?digest={ZERO_DIGEST}", (401, f"download chunk {ZERO_DIGEST} not allowed"), True),
    ("/download?file-name=nosuch.img.fidx",
     (400, f'Unable to open fixed index "/{NAME}/nosuch.img.fidx" - No such file or directory (os error 2)'), True),
    ("/download?file-name=nosuch.blob", (404, f'open file "/{NAME}/nosuch.blob" failed - not found'), True),
    ("/download?file-name=small.img", (400, 'unknown archive type: "small.img"'), True),
    ("/download?file-name=..%2F..%2Fowner.blob",
     (400, BAD + "'file-name': value does not match the regex pattern"), False),
    ("/download", (400, BAD + "'file-name': parameter is missing and it is not optional."), False),
    ("/nosuch", (404, "Path '/nosuch' not found."), True),
    ("/api2/json/version", (404, "Path '/api2/json/version' not found."), True),
    ("/", (200, '{"data":[{"subdir":"chunk"},{"subdir":"download"},{"subdir":"speedtest"}]}'), True),
])
def test_requests_of_the_tunnel(tunnel, path, expected, is_typed):
    said = tunnel.get(path)
    assert (said.status, masked(said.text)) == expected
    assert ("content-type" in said.headers) == is_typed
    assert tunnel.get("/chunk", method="POST") == (404, "Path '/chunk' not found.")


def test_only_chunks_of_indexes_that_were_opened(server3, client, tunnel, golden):
    digest, data = a_chunk(tunnel, golden.store)
    said = get_chunk(tunnel, digest)
    assert said.body == data
    assert said.headers["content-length"] == str(len(data))
    assert said.headers["content-type"] == "application/octet-stream"
    with Tunnel(client, reader_query("store", SNAPSHOT)) as another:
        assert get_chunk(another, digest) == (401, f"download chunk {digest} not allowed")
        assert "content-length" not in another.get(DOWNLOAD).headers
        assert get_chunk(another, digest).body == data
    assert server3.counters()["chunks"] == [digest] * 3


def test_every_chunk_of_an_image_comes_as_it_is(tunnel, golden):
    digests = opened_digests(tunnel)
    streams = {digest: tunnel.ask(f"/chunk?digest={digest}") for digest in digests}
    tunnel.wait(*streams.values())
    for digest, stream in streams.items():
        with open(chunk_path(golden.store, digest), "rb") as chunk:
            assert tunnel.said[stream].body == chunk.read()


def test_frames_are_as_large_as_the_client_allows(client, tunnel):
    assert tunnel.get("/speedtest").frames == [1 << 20]
    with Tunnel(client, reader_query("store", SNAPSHOT), frame=16384, window=65535) as small:
        said = small.get("/speedtest")
        assert said.body == b"A" * (1 << 20) and max(said.frames) == 16384


def test_chunks_are_not_looked_at(own, store):
    with Tunnel(logged_in(own), reader_query("store", SNAPSHOT)) as tunnel:
        digest, data = a_chunk(tunnel, store)
        path = chunk_path(store, digest)
        with open(path, "wb") as chunk:
            chunk.write(data[:1610])
        assert get_chunk(tunnel, digest).body == data[:1610]
        os.truncate(path, 0)
        said = get_chunk(tunnel, digest)
        assert (said.status, said.body) == (200, b"") and "content-length" not in said.headers
        os.unlink(path)
        said = get_chunk(tunnel, digest)
        assert (said.status, masked(said.text)) == (
            400, f'reading file "/.chunks/{digest[:4]}/{digest}" failed: No such file or directory (os error 2)')


@pytest.mark.parametrize("off, byte, text", [(0, 0, "got unknown magic number"), (64, 1, None), (74, 0, "panic")])
def test_indexes_that_are_none(store, off, byte, text):
    path = os.path.join(store, NAME, ARCHIVE)
    with open(path, "r+b") as index:
        index.seek(off)
        index.write(bytes([byte]))
    for version in (3, 4):
        with Pbsd({"store": store}, *options(version)) as server, \
                Tunnel(logged_in(server), reader_query("store", SNAPSHOT)) as tunnel:
            said = tunnel.get(DOWNLOAD)
            if text == "panic" and version == 3:
                assert said.reset is not None
            elif text == "panic":
                assert said.text.endswith(" - got non-power-of-two chunk size: 0")
            else:
                assert said.status == (400 if text else 200)
                assert not text or said.text.endswith(f'{ARCHIVE}" - {text}')
            assert tunnel.get("/download?file-name=index.json.blob").status == 200


def test_300_requests_at_once(server3, tunnel):
    server3.fault("late", path="^/$", seconds=0.3, times=0)
    streams = [tunnel.ask("/") for _ in range(300)]
    tunnel.wait(*streams)
    assert all(tunnel.said[stream].status == 200 for stream in streams)
    assert server3.counters()["peak-streams"] == 300


def test_the_surplus_of_200_streams_is_refused_by_4(server4):
    with Tunnel(logged_in(server4), reader_query("store", SNAPSHOT)) as tunnel:
        tunnel.flush()
        tunnel.h2.remote_settings = h2.settings.Settings(client=False)  # this client does not care for the limit
        server4.fault("ignore", path="/hold", times=200)
        held = [tunnel.ask("/hold") for _ in range(200)]
        surplus = [tunnel.ask("/speedtest") for _ in range(5)]
        tunnel.wait(*surplus)
        assert [tunnel.said[stream].reset for stream in surplus] == [7] * 5
        tunnel.h2.reset_stream(held[0], 8)
        assert tunnel.get("/speedtest").status == 200


def reset_many(tunnel, n):
    streams = [tunnel.ask("/hold") for _ in range(n)]
    for stream in streams:
        tunnel.h2.reset_stream(stream, 8)
    tunnel.flush()


def test_4_ends_a_connection_with_many_resets(server4):
    server4.fault("ignore", path="/hold", times=0)
    client = logged_in(server4)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        reset_many(tunnel, 19)
        assert tunnel.get("/speedtest").status == 200
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        reset_many(tunnel, 20)
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                tunnel.receive()
        assert tunnel.goaway[0] == 11


def test_resets_after_the_answer_began_are_fine(server4):
    with Tunnel(logged_in(server4), reader_query("store", SNAPSHOT), window=1000) as tunnel:
        streams = [tunnel.ask("/speedtest") for _ in range(40)]
        tunnel.flush()
        while not all(tunnel.said[stream].status for stream in streams):
            tunnel.receive()
        for stream in streams:
            tunnel.h2.reset_stream(stream, 8)
        tunnel.h2.update_settings({4: 1 << 24})
        assert tunnel.get("/speedtest").status == 200
        assert server4.counters()["resets-seen"] == 40


def test_a_goaway_is_answered(tunnel):
    tunnel.get("/")
    tunnel.h2.close_connection()
    tunnel.flush()
    got = b""
    while piece := tunnel.sock.recv(4096):
        got += piece
    assert got[:9] == b"\0\0\x08\7\0\0\0\0\0" and got[13:17] == bytes(4)


# What 4.x does otherwise

def test_the_words_of_4(server4):
    said = Client(server4).get("version")
    assert said == (401, "authentication failed")
    assert said.headers["set-cookie"].startswith("__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970")
    said = Client(server4).login(form(username=USER, password=PASSWORD))
    assert json.loads(said.body)["status"] == 200 and json.loads(said.body)["success"] is True
    assert said.headers["content-type"] == "application/json"
    assert Client(server4).login(form(username=USER)) == (400, "no password provided")
    client = logged_in(server4)
    assert client.get("version").data == {"release": "3", "repoid": "pbsd", "version": "4.2"}
    assert client.get("admin/datastore/store/snapshots", backup_type="foo") == (
        400, "unknown variant `foo`, expected one of `vm`, `ct`, `host`")
    assert client.get("admin/datastore").data[0]["backend-type"] == "filesystem"


def test_the_cookie_of_4(server4):
    said = Client(server4).login(form(username=USER, password=PASSWORD, **{"http-only": 1}))
    assert "ticket" not in said.data
    cookie = said.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("__Host-PBSAuthCookie=PBS:")
    assert Client(server4, Cookie=cookie).get("version").status == 200


def test_headers_over_16_kib_are_too_large_for_4(server4, tunnel):
    assert tunnel.get("/speedtest", x_long="a" * 20000).status == 200
    with Tunnel(logged_in(server4), reader_query("store", SNAPSHOT)) as tunnel4:
        assert tunnel4.get("/speedtest", x_long="a" * 20000).status == 431
        assert tunnel4.get("/speedtest", x_long="a" * 10000).status == 200


# The network

def test_plain_http_is_sent_to_https(server3):
    with socket.create_connection((HOST, server3.port), timeout=SECONDS) as sock:
        sock.sendall(f"GET /api2/json/version HTTP/1.1\r\nHost: {HOST}:8007\r\n\r\n".encode())
        status, headers, _ = read_head(sock)
        assert (status, headers["location"], headers["content-length"]) == (301, f"https://{HOST}:8007", "0")


def test_no_alpn_and_no_old_tls(server3):
    modern = context()
    modern.set_alpn_protocols(["h2", "http/1.1"])
    with modern.wrap_socket(socket.create_connection((HOST, server3.port), timeout=SECONDS)) as sock:
        assert sock.selected_alpn_protocol() is None and sock.version() == "TLSv1.3"
    old = context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        old.wrap_socket(socket.create_connection((HOST, server3.port), timeout=SECONDS))


def test_curl_gets_on_with_it(server3):
    url = f"https://{HOST}:{server3.port}/api2/json/"
    ask = ["curl", "--silent", "--insecure", "--max-time", str(SECONDS)]
    login = subprocess.run([*ask, url + "access/ticket", "--data", form(username=USER, password=PASSWORD)],
                           check=True, capture_output=True).stdout
    cookie = "PBSAuthCookie=" + json.loads(login)["data"]["ticket"]
    said = subprocess.run([*ask, "--cookie", cookie, url + "version", "--next", *ask[1:], "--cookie", cookie,
                           url + "admin/datastore/store/snapshots"], check=True, capture_output=True).stdout
    assert said.startswith(b'{"data":{"release":"4"') and b'"backup-id":"100"' in said


def test_delay_is_for_each_way_and_costs_no_throughput(server3, client):
    seconds = 0.05
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        server3.control("set", delay=seconds * 1000)
        try:
            begin = time.monotonic()
            tunnel.get("/")
            tunnel.get("/")
            one_by_one = time.monotonic() - begin
            begin = time.monotonic()
            tunnel.wait(*[tunnel.ask("/speedtest") for _ in range(30)])
            at_once = time.monotonic() - begin
        finally:
            server3.control("set", delay=0)
        assert 4 * seconds <= one_by_one
        assert 2 * seconds <= at_once < 30 * 2 * seconds


# Faults

def ends(sock):
    """How a TLS connection ends, and what came before."""
    got = b""
    try:
        while piece := sock.recv(1 << 16):
            got += piece
        return "close_notify", got
    except ssl.SSLError as why:
        assert "EOF" in str(why), why
        return "no close_notify", got


def raw_end(sock):
    """How its TCP connection ends, and how many bytes came before."""
    with socket.socket(fileno=os.dup(sock.fileno())) as raw:
        raw.settimeout(SECONDS)
        n = 0
        try:
            while piece := raw.recv(1 << 16):
                n += len(piece)
            return "fin", n
        except ConnectionResetError:
            return "rst", n


def n_of_bodies(data):
    """How many bytes of them came, all of which are "A"; a header, as that with the time, may have one or two as well."""
    return sum(map(len, re.findall(b"A{16,}", data)))


@pytest.mark.parametrize("how, ending", [("fin", "no close_notify"), ("tls", "close_notify")])
def test_cut_after_so_many_bytes_of_bodies(server3, tunnel, how, ending):
    server3.fault("cut", path="/speedtest", after=300000, how=how)
    tunnel.ask("/speedtest")
    tunnel.flush()
    got, data = ends(tunnel.sock)
    assert got == ending
    assert n_of_bodies(data) == 300000 and len(data) < 300500


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_cut_on_the_wire(server3, tunnel, how):
    server3.fault("cut", path="/speedtest", after=300000, how=how)
    tunnel.ask("/speedtest")
    tunnel.flush()
    got, n = raw_end(tunnel.sock)
    assert got == how and 300000 < n < 302000


@pytest.mark.parametrize("how, ending", [("rst", "rst"), ("fin", "fin"), ("tls", "fin")])
def test_cut_before_anything_was_said(server3, how, ending):
    server3.fault("cut", at="connect", how=how)
    try:
        with socket.create_connection((HOST, server3.port), timeout=SECONDS) as sock:
            assert raw_end(sock) == (ending, 0)
    except ConnectionResetError:  # it came before the connection was seen to be made
        assert how == "rst"


def test_cut_now_reaches_every_connection(server3, client):
    with Tunnel(client, reader_query("store", SNAPSHOT)) as one, \
            Tunnel(client, reader_query("store", SNAPSHOT)) as two:
        rule = server3.fault("cut", at="now", how="rst")
        assert server3.hits(rule) == 2
        for tunnel in (one, two):
            assert raw_end(tunnel.sock)[0] == "rst"
    assert wait_until(lambda: not server3.counters()["open"])


def is_silent(sock, seconds=0.2):
    sock.settimeout(seconds)
    try:
        return not sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(SECONDS)


def test_stall_before_tls(server3):
    server3.fault("stall", at="connect")
    with socket.create_connection((HOST, server3.port), timeout=0.3) as sock:
        with pytest.raises(TimeoutError):
            context().wrap_socket(sock)
    assert Client(server3).ticket(), "only one was meant"


def test_stall_before_the_upgrades_answer(server3, client):
    server3.fault("stall", path="/reader")
    done = []
    thread = threading.Thread(target=lambda: done.append(upgrade(client, reader_query("store", SNAPSHOT))))
    thread.start()
    thread.join(0.3)
    assert not done
    server3.control("clear")
    thread.join(SECONDS)
    assert done[0][0].status == 101
    done[0][1].close()


def test_stall_in_the_middle_of_a_body_and_go_on(server3, tunnel):
    server3.fault("stall", path="/speedtest", after=300000)
    stream = tunnel.ask("/speedtest")
    tunnel.flush()
    got = b""
    while n_of_bodies(got) < 300000:
        got += tunnel.sock.recv(1 << 16)
    assert is_silent(tunnel.sock) and n_of_bodies(got) == 300000
    server3.control("clear")
    tunnel.take_in(got)
    assert tunnel.wait(stream).body == b"A" * (1 << 20)


def test_freeze_and_thaw(server3, client, tunnel):
    tunnel.get("/")
    server3.control("freeze")
    stream = tunnel.ask("/")
    tunnel.flush()
    assert is_silent(tunnel.sock)
    with socket.create_connection((HOST, server3.port), timeout=0.3) as sock:
        with pytest.raises(TimeoutError):
            context().wrap_socket(sock)
    server3.control("thaw")
    assert tunnel.wait(stream).status == 200
    assert client.get("version").status == 200


def test_a_status_of_the_nth_request(server3, tunnel):
    rule = server3.fault("answer", path="/chunk", skip=1, status=503, text="busy now")
    assert [get_chunk(tunnel, ZERO_DIGEST).status for _ in range(3)] == [401, 503, 401]
    assert server3.hits(rule) == 1


def test_answers_of_the_rest_api_that_are_no_good(server3, client):
    groups = "admin/datastore/store/groups"
    server3.fault("answer", path=groups, text='{"data":[', times=0)
    assert client.get(groups) == (200, '{"data":[')
    server3.control("clear")
    server3.fault("answer", path=groups, text="[", repeat=3 << 20, chunked=True)
    assert client.get(groups).body == b"[" * (3 << 20)
    server3.fault("answer", path=groups, header_bytes=50000)
    assert len(client.get(groups).headers["x-long"]) == 50000
    server3.fault("raw", path=groups, text="220 mail ready\r\n")
    with pytest.raises(Exception, match="220 mail"):
        client.get(groups)
    server3.fault("raw", at="connect", text="SSH-2.0-x\r\n")
    with socket.create_connection((HOST, server3.port), timeout=SECONDS) as sock:
        assert sock.recv(100) == b"SSH-2.0-x\r\n"


@pytest.mark.parametrize("rule, expected", [
    ({"how": "flip", "off": 100}, lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:]),
    ({"how": "truncate", "n": 7}, lambda data: data[:-7]),
    ({"how": "extend", "n": 9}, lambda data: data + bytes(9)),
    ({"how": "replace", "hex": "00ff"}, lambda data: b"\0\xff"),
])
def test_wrong_chunks(server3, tunnel, golden, rule, expected):
    digest, data = a_chunk(tunnel, golden.store)
    server3.fault("alter", path="/chunk", **rule)
    said = get_chunk(tunnel, digest)
    assert said.body == expected(data) and said.headers["content-length"] == str(len(said.body))
    assert get_chunk(tunnel, digest).body == data


def test_the_wrong_chunk_altogether(server3, tunnel, golden):
    digest, data = a_chunk(tunnel, golden.store)
    other = next(d for d in opened_digests(tunnel) if d != digest)
    server3.fault("alter", path=other, how="replace", digest=digest)
    assert get_chunk(tunnel, other).body == data


def test_a_body_longer_than_its_length(server3, tunnel):
    server3.fault("alter", path="/speedtest", how="extend", n=5, keep_length=True)
    stream = tunnel.ask("/speedtest")
    tunnel.flush()
    with pytest.raises(Exception, match="InvalidBodyLength|expected 1048576"):
        tunnel.wait(stream)


def test_streams_refused_and_reset(server3, tunnel):
    server3.fault("reset", path="/speedtest", code=7, times=2)
    assert [tunnel.get("/speedtest").reset for _ in range(3)] == [7, 7, None]


def test_late_and_never(server3, tunnel):
    server3.fault("late", path="/speedtest", seconds=0.3)
    server3.fault("ignore", path="/download")
    begin = time.monotonic()
    late, never = tunnel.ask("/speedtest"), tunnel.ask(DOWNLOAD)
    assert tunnel.get("/").status == 200 and not tunnel.said[late].is_over
    assert tunnel.wait(late).status == 200 and time.monotonic() - begin >= 0.3
    assert tunnel.get(DOWNLOAD).status == 200 and tunnel.said[never].status is None


def test_goaway(server3, tunnel):
    assert tunnel.get(DOWNLOAD).status == 200
    server3.fault("goaway", path="/speedtest", code=2, last=1)
    second = tunnel.ask("/speedtest")
    tunnel.flush()
    while not tunnel.goaway:
        tunnel.receive()
    assert tunnel.goaway == (2, 1) and not tunnel.said[second].is_over


def test_drip(server3, client):
    server3.fault("drip", path="/reader", rate=20000)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        begin = time.monotonic()
        tunnel.get(DOWNLOAD)
        assert time.monotonic() - begin > 0.15  # 4 KiB
        server3.control("clear")
        assert tunnel.get("/speedtest").status == 200


def test_rules_for_one_connection_and_for_a_time(server3, client):
    with Tunnel(client, reader_query("store", SNAPSHOT)) as one, \
            Tunnel(client, reader_query("store", SNAPSHOT)) as two:
        number = server3.counters()["open"][1]
        server3.fault("reset", conn=number, times=0)
        server3.fault("reset", begins=3600, times=0)
        assert one.get("/").status == 200 and two.get("/").reset == 8


def test_a_rule_that_means_nothing_is_refused(server3):
    for words in ({"at": "now", "action": "late"}, {"at": "never", "action": "cut"}, {"action": "cut"}):
        with pytest.raises(AssertionError, match="pbsd: "):
            server3.control("fault", **words)


# The life of the server

def test_restart(own, store):
    client = logged_in(own)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        digest, data = a_chunk(tunnel, store)
        port = own.port
        own.control("stop")
        with pytest.raises((EOFError, OSError)):
            tunnel.get("/")
    with pytest.raises(ConnectionRefusedError):
        client.get("version")
    own.control("start")
    assert own.port == port and client.get("version").status == 200, "tickets outlive it"
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        assert get_chunk(tunnel, digest).status == 401, "what was opened is forgotten"
        assert tunnel.get(DOWNLOAD) and get_chunk(tunnel, digest).body == data
        own.control("restart", seconds=0.5, how="rst")
        assert raw_end(tunnel.sock)[0] == "rst"
    with pytest.raises(ConnectionRefusedError):
        client.get("version")

    def is_back():
        try:
            return client.get("version").status == 200
        except ConnectionRefusedError:
            return False
    assert wait_until(is_back)


def test_tickets_expire_on_demand_but_sessions_go_on(server3, client, tunnel):
    server3.control("expire")
    assert client.get("version") == (401, "authentication failed - invalid ticket - expired")
    assert tunnel.get("/").status == 200
    assert logged_in(server3).get("version").status == 200


def test_log_ins_refused_and_second_factors(server3):
    server3.control("set", refuse_logins=True)
    assert Client(server3).login(form(username=USER, password=PASSWORD)) == (401, "permission check failed.")
    server3.control("clear")
    server3.control("set", second_factor=True)
    assert Client(server3).ticket().startswith("PBS:!tfa!")


def test_the_same_state_in_another_process(s, golden):
    state = ["--auth-delay=0", f"--state={s.path('state')}"]
    with Pbsd({"store": golden.store}, *state) as first:
        client = logged_in(first)
        fingerprint = first.fingerprint
    with Pbsd({"store": golden.store}, *state) as second:
        client.server = second
        assert second.fingerprint == fingerprint and client.get("version").status == 200
    with Pbsd({"store": golden.store}, "--auth-delay=0") as third:
        client.server = third
        assert third.fingerprint != fingerprint
        assert client.get("version") == (401, "authentication failed - ticket with invalid signature")


def fingerprint_of(server):
    pem = ssl.get_server_certificate((HOST, server.port))
    shown = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem.encode(), check=True,
                           capture_output=True).stdout.decode()
    return shown.strip().partition("=")[2].lower()


def test_certificates(s, own):
    before = own.fingerprint
    assert fingerprint_of(own) == before
    own.control("certificate")
    assert fingerprint_of(own) == own.fingerprint != before
    cert, key = s.path("cert.pem"), s.path("key.pem")
    s.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=given", "-keyout", key,
          "-out", cert)
    own.control("certificate", cert=cert, key=key)
    assert fingerprint_of(own) == own.fingerprint
    with Pbsd({"store": s.directory}, f"--cert={cert}", f"--key={key}") as given:
        assert fingerprint_of(given) == given.fingerprint == own.fingerprint


def test_a_snapshot_that_was_pruned(own, store):
    client = logged_in(own)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        digest, data = a_chunk(tunnel, store)
        with pytest.raises(AssertionError, match="unable to acquire lock"):
            own.control("remove", store="store", snapshot=NAME)
        own.control("remove", store="store", snapshot=NAME, force=True)
        assert get_chunk(tunnel, digest).body == data, "chunks stay until they are collected"
        assert tunnel.get(DOWNLOAD).status == 400
    said, _, _ = upgrade(client, reader_query("store", SNAPSHOT))
    assert said == (400, f"snapshot {NAME} does not exist.")
    assert SNAPSHOT not in map(key_of, client.get("admin/datastore/store/snapshots").data)
    assert os.path.exists(os.path.join(store, NAME, ARCHIVE))


@pytest.mark.parametrize("version, words", [(3, "in"), (4, "unavailable:")])
def test_maintenance_is_for_new_sessions(servers, version, words):
    server = fresh(servers(version))
    client = logged_in(server)
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        server.control("maintenance", store="store", mode="offline", text="disks")
        said, _, _ = upgrade(client, reader_query("store", SNAPSHOT))
        assert said == (400, f"datastore 'store' is {words} offline maintenance mode: disks")
        server.control("maintenance", store="store", mode="read-only")
        upgrade(client, reader_query("store", SNAPSHOT))[1].close()
        server.control("maintenance", store="store")
        assert tunnel.get(DOWNLOAD).status == 200


def test_counters(server3, client):
    with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
        tunnel.wait(*[tunnel.ask("/speedtest") for _ in range(3)])
        counted = server3.counters()
    assert counted["connections"] == 2 and counted["sessions"] == 1 and counted["logins"] == 1
    assert counted["requests"] == {"/api2/json/access/ticket": 1, "/api2/json/reader": 1, "/speedtest": 3}
    assert 3 << 20 <= counted["body-bytes"] < (3 << 20) + 1000
    assert server3.n_requests("speed") == 3 and len(counted["open"]) == 1


def test_garbage_ends_its_own_connection_and_nothing_else(s, golden):
    heads = [b"\x16\x03\x01\xff\xff" + bytes(100), b"\x80garbage\r\n\r\n", b"GET\r\n\r\n", b""]
    requests = [b"garbage\r\n\r\n", b"POST /api2/json/access/ticket HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                b"POST /api2/json/access/ticket HTTP/1.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: 2\r\nConnection: close\r\n\r\n[1", b"GET / HTTP/1.1\r\nX: " + b"a" * 70000]
    frames = [b"\0\0\5\4\0\0\0\0\0garba", bytes(9), b"\0\0\x04\x01\x05\0\0\0\x01\xff\xff\xff\xff"]
    with open(s.path("log"), "wb") as log, Pbsd({"store": golden.store}, "--auth-delay=0", log=log) as server:
        client = logged_in(server)
        for data in heads:
            with socket.create_connection((HOST, server.port), timeout=SECONDS) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                raw_end(sock)
        for data in requests:
            with context().wrap_socket(socket.create_connection((HOST, server.port), timeout=SECONDS)) as sock:
                sock.sendall(data)
                ends(sock)
        for data in frames:
            with Tunnel(client, reader_query("store", SNAPSHOT)) as tunnel:
                tunnel.sock.sendall(data)
                ends(tunnel.sock)
        assert wait_until(lambda: not server.counters()["open"])
        assert client.get("version").status == 200
    with open(s.path("log"), encoding="utf-8") as log:
        assert log.read() == ""


def test_nothing_is_left_of_it(golden, store):
    for end in (lambda server: server.process.send_signal(signal.SIGTERM),
                lambda server: server.process.send_signal(signal.SIGINT),
                lambda server: server.process.stdin.close()):
        with Pbsd({"store": golden.store}) as server, \
                Tunnel(logged_in(server), reader_query("store", SNAPSHOT)):
            server.control("freeze")
            end(server)
            assert server.process.wait(5) == 0
