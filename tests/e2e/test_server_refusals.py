# SPDX-License-Identifier: Apache-2.0
"""What a server refuses or cannot say: one line, the right status, in time, and no secret in it."""
import os
import re
import socket
import time

import pytest

from golden import SETS
from harness import DAMAGED, FAILED, NOT_FOUND, REFUSED, sha256_of
from pbsd import PASSWORD, Pbsd
from remote import LATE

SNAPSHOT, ARCHIVE = "vm/100/2024-06-03T00:00:00Z", "drive-scsi1.img"
TOKEN, TOKEN_SECRET = "test@pbs!tok", "s3 cr?t-of-the:token"
LIST = ["snapshots"]
MAP = ["map", "--timeout", "2", SNAPSHOT, ARCHIVE]
LOG_IN, LISTS, UPGRADE = "access/ticket", "/snapshots", "/json/reader"
OPTIONS = ["--auth-delay=0", f"--token=tok={TOKEN_SECRET}", "--user=none=x", "--user=backup=x", "--role=backup=backup"]


@pytest.fixture(scope="module")
def servers(unpacked):
    """One of each version, started when it is first wanted."""
    if not SETS:
        pytest.skip("no golden datastore here")
    started = {}

    def get(version):
        if version not in started:
            started[version] = Pbsd({"store": SETS[0].store}, f"--version={version}", *OPTIONS)
        started[version].control("clear")
        return started[version]
    yield get
    for pbs in started.values():
        pbs.stop()


@pytest.fixture(params=[3, 4], ids=["3.x", "4.x"])
def pbs(servers, request):
    return servers(request.param)


@pytest.fixture
def server3(servers):
    return servers(3)


def fails(s, status, pattern, pbs, command, user=None, seconds=LATE, repository=None, env=None):
    """One line on stderr that says why, nothing on stdout, nothing secret."""
    repository = repository or (pbs.repository("store", user) if user else pbs.repository("store"))
    start = time.monotonic()
    result = s.fails(status, *command, "--repository", repository, env={**pbs.env(), **(env or {})})
    assert time.monotonic() - start < seconds, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert re.search(pattern, result.err), result
    for secret in (PASSWORD, TOKEN_SECRET, "wrong-secret", "PBS:"):
        assert secret not in result.err, result
    return result


def both_fail(s, status, pattern, pbs, **more):
    for command in (LIST, MAP):
        fails(s, status, pattern, pbs, command, **more)


# -- who asks --------------------------------------------------------------------------------------

def test_what_is_right_is_not_refused(s, pbs):
    env = {**pbs.env(), "PBS_REPOSITORY": pbs.repository("store")}
    assert SNAPSHOT in s.pbsmap("snapshots", env=env).out
    path = s.map("--via", "file", SNAPSHOT, ARCHIVE, s.path("image"), env=env)
    assert sha256_of(path) == SETS[0].image(SNAPSHOT, ARCHIVE).sha256
    token = {**env, "PBS_PASSWORD": TOKEN_SECRET, "PBS_REPOSITORY": pbs.repository("store", TOKEN)}
    assert SNAPSHOT in s.pbsmap("snapshots", env=token).out


def test_a_wrong_password(s, pbs):
    both_fail(s, REFUSED, "wrong password", pbs, env={"PBS_PASSWORD": "wrong-secret"})


def test_a_user_who_does_not_exist(s, pbs):
    both_fail(s, REFUSED, "wrong password.*nobody@pbs", pbs, user="nobody@pbs")


@pytest.mark.parametrize("name, secret", [(TOKEN, "wrong-secret"), ("test@pbs!other", TOKEN_SECRET)])
def test_a_token_that_is_not_good(s, pbs, name, secret):
    both_fail(s, REFUSED, "wrong password or token", pbs, user=name, env={"PBS_PASSWORD": secret})


def test_no_permission(s, pbs):
    both_fail(s, REFUSED, "the server refuses it: (permission check failed|no permissions)", pbs, user="none@pbs",
              env={"PBS_PASSWORD": "x"})


def test_the_backup_of_somebody_else(s, pbs):
    fails(s, REFUSED, "somebody else", pbs, MAP, user="backup@pbs", env={"PBS_PASSWORD": "x"})


def test_an_account_with_a_second_factor(s, pbs):
    pbs.control("set", second_factor=True)
    both_fail(s, REFUSED, "second factor|two-factor|API token", pbs)


def test_no_password_and_no_terminal(s, pbs):
    env = {name: value for name, value in pbs.env().items() if name != "PBS_PASSWORD"}
    for command in (LIST, MAP):
        result = s.fails(REFUSED, *command, "--repository", pbs.repository("store"), env=env, start_new_session=True)
        assert "PBS_PASSWORD" in result.err and result.err.count("\n") == 1


def test_a_fingerprint_that_is_not_the_servers(s, pbs):
    wrong = "11:" + pbs.fingerprint[3:]
    for command in (LIST, MAP):
        result = fails(s, REFUSED, "fingerprint", pbs, command, env={"PBS_FINGERPRINT": wrong})
        assert wrong in result.err and pbs.fingerprint in result.err
        fails(s, REFUSED, "fingerprint", pbs, [*command, "--fingerprint", wrong])


def test_nothing_secret_is_sent_to_a_server_that_is_not_trusted(s, pbs):
    pbs.counters(reset=True)
    both_fail(s, REFUSED, "fingerprint", pbs, env={"PBS_FINGERPRINT": "11:" + pbs.fingerprint[3:]})
    for command in (LIST, MAP):
        s.fails(REFUSED, *command, "--repository", pbs.repository("store"), env={"PBS_PASSWORD": PASSWORD},
                start_new_session=True)
    seen = pbs.counters()
    assert seen["logins"] == 0 and not seen["requests"]


def test_an_unknown_certificate_without_a_terminal_says_what_to_do(s, pbs):
    for command in (LIST, MAP):
        result = s.fails(REFUSED, *command, "--repository", pbs.repository("store"), env={"PBS_PASSWORD": PASSWORD},
                         start_new_session=True)
        assert pbs.fingerprint in result.err and "PBS_FINGERPRINT" in result.err
        assert result.err.count("\n") == 1


# -- what is there ---------------------------------------------------------------------------------

def test_a_datastore_that_is_not_there(s, pbs):
    repository = pbs.repository("nostore")
    for command in (LIST, MAP):
        fails(s, NOT_FOUND, "no such datastore 'nostore'", pbs, command, repository=repository)


def test_a_snapshot_a_group_an_archive_that_is_not_there(s, pbs):
    for words in (["vm/100/2031-01-01T00:00:00Z", ARCHIVE], ["vm/999", ARCHIVE], [SNAPSHOT, "drive-scsi9.img"]):
        fails(s, NOT_FOUND, "there is no|no archive|not there", pbs, ["map", *words])


@pytest.mark.parametrize("mode", ["offline", "delete"])
def test_a_datastore_in_maintenance(s, pbs, mode):
    pbs.control("maintenance", store="store", mode=mode, text="new disks come on Monday")
    try:
        fails(s, REFUSED, "new disks come on Monday" if mode == "offline" else "being deleted", pbs, MAP)
    finally:
        pbs.control("maintenance", store="store")


def test_a_snapshot_that_was_removed(s, servers, store):
    with Pbsd({"store": store}, *OPTIONS) as pbs:
        pbs.control("remove", store="store", snapshot=SNAPSHOT)
        fails(s, NOT_FOUND, "there is no group vm/100; there is", pbs, MAP)


def test_an_index_that_is_not_there(s, pbs):
    pbs.fault("answer", path="/download.*fidx", status=400, times=0,
                 text="Unable to open fixed index \"x\" - No such file or directory (os error 2)")
    fails(s, DAMAGED, "in the manifest, but not in the snapshot", pbs, MAP)


MANIFEST_CALL = "/download.*index.json.blob"
IO_ERROR = {"status": 400, "text": "File open failed: Input/output error (os error 5)"}
NO_RIGHT = {"status": 403, "text": "permission check failed"}


def listed_at(s, pbs, *words):
    result = s.pbsmap(*LIST, *words, "--repository", pbs.repository("store"), env=pbs.env(), check=False)
    return result, result.json


def test_manifests_that_a_server_does_not_give(s, server3):
    """Its trouble with one is a gap in the list; who may only list has all that is listed."""
    names = [row["snapshot"] for row in listed_at(s, server3, "--json")[1]]
    for answer, status in ((IO_ERROR, DAMAGED), (NO_RIGHT, 0)):
        server3.control("clear")
        server3.fault("answer", path=MANIFEST_CALL, times=0, **answer)
        result, rows = listed_at(s, server3, "--json")
        assert result.status == status, result
        assert [row["snapshot"] for row in rows] == names
        assert all(row["finished"] and row["size"] is None and row["files"] for row in rows)
        said = result.err.splitlines()
        assert len(said) == (len(names) if status else 0), result
        assert all(f"while reading the manifest of {name}" in line for line, name in zip(said, names))


def test_a_server_that_is_lost_in_the_middle_of_a_list(s, server3):
    server3.fault("cut", path=MANIFEST_CALL, skip=1, times=0)
    fails(s, FAILED, "while reading the manifest of ", server3, LIST)


def test_a_snapshot_is_not_finished_when_it_has_no_manifest(s, store):
    """One whose manifest the server cannot read is listed by it as if there were none."""
    os.unlink(os.path.join(store, SNAPSHOT, "index.json.blob"))
    with Pbsd({"store": store}, *OPTIONS) as pbs:
        for answer, status, is_finished in ((None, 0, False), (NO_RIGHT, 0, False), (IO_ERROR, DAMAGED, True)):
            pbs.control("clear")
            if answer:
                pbs.fault("answer", path="backup-id=100.*index.json.blob", times=0, **answer)
            result, rows = listed_at(s, pbs, "vm/100", "--json")
            assert result.status == status, result
            assert [(row["snapshot"], row["finished"]) for row in rows] == [(SNAPSHOT, is_finished)]
        pbs.control("clear")
        pbs.fault("cut", path=MANIFEST_CALL, times=0)
        fails(s, FAILED, "while listing ", pbs, LIST)


# -- no server at all ------------------------------------------------------------------------------

def test_an_unknown_host(s, server3):
    for command in (LIST, MAP):
        fails(s, FAILED, "there is no host nowhere.invalid", server3, command, seconds=20,
              repository="test@pbs@nowhere.invalid:8007:store")


def test_a_refused_connection(s, server3):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        for command in (LIST, MAP):
            fails(s, FAILED, "cannot connect to 127.0.0.1.*refused", server3, command,
                  repository=f"test@pbs@127.0.0.1:{bound.getsockname()[1]}:store")


@pytest.mark.parametrize("words", ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "220 mail ESMTP\r\n",
                                   "\x15\x03\x01\x00\x02\x02\x28"], ids=["http", "ssh", "smtp", "alert"])
def test_a_port_of_something_else(s, server3, words):
    server3.fault("raw", at="connect", times=0, text=words)
    both_fail(s, FAILED, "does not answer as a TLS server", server3)


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_port_that_closes_at_once(s, server3, how):
    server3.fault("cut", at="connect", times=0, how=how)
    both_fail(s, FAILED, "does not answer as a TLS server|closed the connection|reset by peer", server3)


# -- answers that are none -------------------------------------------------------------------------

NO_JSON = {
    "empty": {"text": ""},
    "html": {"text": "<html><body>It works!</body></html>"},
    "cut": {"text": '{"data":[{"backup-id":"100","backup-ty'},
    "null": {"text": "null"},
    "number": {"text": '{"data":17}'},
    "text": {"text": '{"data":"PBS:x"}'},
    "binary": {"hex": "00ff00ff00fe", "repeat": 100},
    "deep": {"text": "[", "repeat": 200000},
    "deep-objects": {"text": '{"data":', "repeat": 100000},
    "endless-number": {"text": "1", "repeat": 100000},
    "not-utf-8": {"hex": "7b2264617461223a22ff22" + "7d"},
    "nul": {"hex": "7b2264617461223a00227d"},
}


@pytest.mark.parametrize("what", NO_JSON)
def test_an_answer_that_is_not_what_was_asked_for(s, server3, what):
    server3.fault("answer", path=LOG_IN, times=0, **NO_JSON[what])
    both_fail(s, FAILED, "log-in|logging in", server3)
    server3.control("clear")
    server3.fault("answer", path=LISTS, times=0, **NO_JSON[what])
    fails(s, FAILED, "", server3, LIST)


ABSURD = {
    "group": {"text": '{"data":[{"backup-id":"../..","backup-type":"vm","backup-time":1,"files":[]}]}'},
    "time": {"text": '{"data":[{"backup-id":"1","backup-type":"vm","backup-time":99999999999999999999,"files":[]}]}'},
    "size": {"text": '{"data":[{"backup-id":"1","backup-type":"vm","backup-time":1,"files":[{"filename":"x.img.fidx",'
                     '"size":-5}]}]}'},
    "type": {"text": '{"data":[{"backup-id":7,"backup-type":[],"backup-time":"x","files":{}}]}'},
}


@pytest.mark.parametrize("what", ABSURD)
def test_a_list_with_absurd_rows_is_refused_or_goes_without_them(s, server3, what):
    server3.fault("answer", path=LISTS, times=0, **ABSURD[what])
    result = s.pbsmap("snapshots", "--repository", server3.repository("store"), env=server3.env(), check=False)
    assert result.status in (0, FAILED), result
    assert ".." not in result.out and "-5" not in result.out and "9999999" not in result.out
    assert result.status == 0 or result.err.count("\n") == 1


@pytest.mark.parametrize("status, exit_status", [(301, FAILED), (400, FAILED), (401, REFUSED), (403, REFUSED),
                                                 (404, NOT_FOUND), (500, FAILED), (503, FAILED), (599, FAILED),
                                                 (204, FAILED)])
def test_another_status(s, server3, status, exit_status):
    text = "" if status == 204 else "what went wrong\nand a second line\n\x1b[31m"
    for path in (LOG_IN, LISTS):
        server3.control("clear")
        server3.fault("answer", path=path, times=0, status=status, text=text)
        result = fails(s, exit_status, "" if status in (301, 204) else "what went wrong", server3, LIST)
        assert "second line" not in result.err and "\x1b" not in result.err
    server3.control("clear")
    server3.fault("answer", path=UPGRADE, times=0, status=status, text=text)
    fails(s, exit_status, "", server3, MAP)


@pytest.mark.parametrize("path, repeat", [(LOG_IN, 1 << 12), (LISTS, 300 << 12)], ids=["log-in", "list"])
def test_an_answer_that_is_too_long(s, server3, path, repeat):
    server3.fault("answer", path=path, times=0, text=" " * 256, repeat=repeat)
    fails(s, FAILED, "answers more than it may", server3, LIST, seconds=60)


HEADS = {
    "garbage": "this is no HTTP\r\n\r\n",
    "http-2": "HTTP/2.0 200 OK\r\n\r\n",
    "http-0.9": '{"data":{"ticket":"x"}}',
    "no-status": "HTTP/1.1\r\n\r\n",
    "negative-length": "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
    "absurd-length": "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
    "two-lengths": "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "bad-chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
    "huge-chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "cut": "HTTP/1.1 200 OK\r\ncontent-len",
    "short-body": "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
    "old-upgrade": "HTTP/1.0 101 Switching Protocols\r\nupgrade: proxmox-backup-reader-protocol-v1\r\n\r\n",
    "other-upgrade": "HTTP/1.1 101 Switching Protocols\r\nupgrade: proxmox-backup-reader-protocol-v2\r\n\r\n",
    "no-upgrade": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "upgrade-then-garbage": "HTTP/1.1 101 Switching Protocols\r\nupgrade: proxmox-backup-reader-protocol-v1\r\n"
                            "connection: upgrade\r\n\r\nthis is no HTTP/2, whatever else it is",
    "upgrade-then-nothing": "HTTP/1.1 101 Switching Protocols\r\nupgrade: proxmox-backup-reader-protocol-v1\r\n"
                            "connection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("what", HEADS)
def test_an_answer_that_is_no_http(s, server3, what):
    server3.fault("raw", path=LOG_IN, times=0, text=HEADS[what])
    fails(s, FAILED, "", server3, LIST)
    server3.control("clear")
    server3.fault("raw", path=UPGRADE, times=0, text=HEADS[what])
    fails(s, FAILED, "", server3, MAP)


@pytest.mark.parametrize("path", [LOG_IN, UPGRADE])
def test_headers_without_end(s, server3, path):
    server3.fault("answer", path=path, times=0, header_bytes=8 << 20)
    fails(s, FAILED, "", server3, MAP)
    server3.control("clear")
    server3.fault("raw", path=path, times=0, text="HTTP/1.1 100 Continue\r\n\r\n", repeat=400000)
    fails(s, FAILED, "", server3, MAP)


def test_an_index_or_manifest_that_is_something_else(s, server3):
    for name in ("index.json.blob", "fidx"):
        for words in ({"text": ""}, {"text": "no such thing"}, {"hex": "00", "repeat": 1 << 20}):
            server3.control("clear")
            server3.fault("answer", path=f"/download.*{name}", times=0, **words)
            fails(s, DAMAGED, "", server3, MAP)


def test_an_index_or_manifest_without_end(s, server3):
    server3.fault("answer", path="/download.*index.json.blob", times=0, text="x" * 4096, repeat=256 << 10)
    fails(s, DAMAGED, "too long", server3, MAP)


# -- in time ---------------------------------------------------------------------------------------

STALLS = {
    "handshake": {"at": "connect"},
    "log-in": {"path": LOG_IN},
    "upgrade": {"path": UPGRADE},
    "manifest": {"path": "/download.*blob"},
    "index": {"path": "/download.*fidx"},
}


@pytest.mark.parametrize("where", STALLS)
def test_a_server_that_stalls_while_it_is_mapped(s, server3, where):
    server3.fault("stall", times=0, **STALLS[where])
    fails(s, FAILED, "in time|does not answer", server3, MAP, seconds=2 + LATE)


@pytest.mark.parametrize("where", ["log-in", "upgrade", "index"])
def test_a_server_that_drips_while_it_is_mapped(s, server3, where):
    server3.fault("drip", times=0, rate=20, **STALLS[where])
    fails(s, FAILED, "in time|does not answer", server3, MAP, seconds=2 + LATE)
