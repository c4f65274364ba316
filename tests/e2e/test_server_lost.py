# SPDX-License-Identifier: Apache-2.0
"""A server that is lost and found again: a reader gets the right bytes, or EIO when its time is over."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from harness import BUSY, FAILED, PBSMAP, TOP, is_attached, wait_until
from pbsd import USER, Pbsd
from remote import ARCHIVE, CHUNK, LATE, SNAPSHOT, Disk, Read, is_found, is_lost, lost, map_at, map_device
from test_hang import state_of
from wire import Wire

sys.path.insert(0, os.path.join(TOP, "tests", "tools"))
from stored import Stream  # pylint: disable=wrong-import-position


@pytest.fixture
def disk(s, mkstore):
    return Disk(s)


@pytest.fixture
def pbs(disk):
    with disk.served() as started:
        yield started


# -- what ends by itself ---------------------------------------------------------------------------

CUTS = [{"how": "rst"}, {"how": "fin"}, {"how": "tls"}]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut["how"])
@pytest.mark.parametrize("after", [0, CHUNK // 2])
def test_a_connection_that_is_cut_in_an_answer_is_made_again(s, disk, pbs, cut, after):
    path = map_at(s, pbs)
    rule = pbs.fault("cut", path=disk.path_of(20), after=after, **cut)
    Read(path, 20).brings(disk)
    assert pbs.hits(rule) == 1
    assert pbs.counters()["sessions"] == 2
    row = s.mapping(path)
    assert (row["state"], row["lost"], row["damaged_chunks"]) == ("ready", None, 0)
    s.pbsmap("unmap", path)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_server_that_is_started_again(s, disk, pbs, how):
    path = map_at(s, pbs)
    Read(path, 10).brings(disk)
    pbs.control("stop", how=how)
    before = int(time.time())
    reads = [Read(path, n) for n in range(20, 26)]
    said = is_lost(s, path)
    assert before - 1 <= said["since"] <= time.time()
    assert "refused" in said["why"]
    assert not any(read.is_over for read in reads)
    pbs.control("start")
    start = time.monotonic()
    for read in reads:
        read.brings(disk)
    # Once a second is tried while somebody waits; the rest is the machine's.
    assert time.monotonic() - start < 5
    is_found(s, path)
    Read(path, 30).brings(disk)
    s.pbsmap("unmap", path)


def test_a_stall_in_a_chunk_is_found_by_asking(s, disk, pbs):
    """The server's kernel acknowledges all, so only the answer to a PING tells."""
    path = map_at(s, pbs, "--timeout", "6")
    rule = pbs.fault("stall", path=disk.path_of(20), after=CHUNK // 2)
    reads = [Read(path, n) for n in range(20, 24)]
    for read in reads:
        read.brings(disk)
    assert pbs.hits(rule) == 1
    assert pbs.counters()["sessions"] == 2


def test_a_count_of_all_links_ends_when_the_server_gives_nothing_more(s, mkstore):
    store, snapshot = s.path("trees"), "host/x/2026-01-02T03:04:05Z"
    s.mkstore(store, snapshot, "--chunk-size", "16K", "--synthetic-tree", "300:3M", "one.pxar")
    digests = Stream(store, f"{snapshot}/one.pxar.didx").digests
    digest = digests[len(digests) // 4].hex()
    with Pbsd({"store": store}, "--auth-delay=0") as pbs:
        pbs.fault("stall", path=f"chunk.digest={digest}", times=0)
        start = time.monotonic()
        result = s.fails(FAILED, "ls", "--exact-links", "--timeout", "2", "--repository", pbs.repository("store"),
                         snapshot, "one.pxar", env=pbs.env())
        assert "time limit" in result.err and time.monotonic() - start < 15


def test_a_slow_answer_is_no_lost_server(s, disk, pbs):
    """A chunk takes longer than it takes to lose patience with a server that says nothing."""
    path = map_at(s, pbs, "--timeout", "6")
    pbs.fault("drip", path=disk.path_of(20), rate=16 << 10)
    read = Read(path, 20).brings(disk)
    assert read.seconds > 2
    assert pbs.counters()["sessions"] == 1


def test_an_answer_too_slow_for_its_reader_is_an_error_in_time(s, disk, pbs):
    path = map_at(s, pbs, "--timeout", "2")
    pbs.fault("drip", path=disk.path_of(20), rate=8 << 10, times=0)
    Read(path, 20).fails_at(2)
    pbs.control("clear")
    Read(path, 21).brings(disk)
    Read(path, 20).brings(disk)


def test_an_expired_ticket_is_replaced_when_the_connection_is_made_again(s, disk, pbs):
    path = map_at(s, pbs)
    pbs.control("expire")
    Read(path, 20).brings(disk)
    assert pbs.counters()["logins"] == 1
    pbs.fault("cut", at="now")
    Read(path, 21).brings(disk)
    assert pbs.counters()["logins"] == 2


def test_without_a_time_limit_a_reader_waits_as_long_as_it_takes(s, disk, pbs):
    path = map_at(s, pbs, "--timeout", "0")
    pbs.control("stop")
    read = Read(path, 20)
    is_lost(s, path)
    time.sleep(2)  # the only thing that shows it: nothing happens
    assert not read.is_over
    pbs.control("start")
    read.brings(disk)


# -- what somebody has to end ----------------------------------------------------------------------

def refuse_log_in(pbs, disk):
    pbs.control("expire")
    pbs.control("set", refuse_logins=True)


def answer_calls(path, **words):
    def spoil(pbs, disk):
        pbs.control("expire")
        pbs.fault("answer", path=path, times=0, **words)
    return spoil


def change_index(pbs, disk):
    """Another backup of the same name and time, as nobody makes them."""
    other = Disk(disk.s, "other", seed=2)
    disk.s.run("cp", f"{disk.store}/{SNAPSHOT}/{ARCHIVE}.fidx", disk.s.path("kept"))
    disk.s.run("cp", f"{other.store}/{SNAPSHOT}/{ARCHIVE}.fidx", f"{disk.store}/{SNAPSHOT}/{ARCHIVE}.fidx")


def restore_index(pbs, disk):
    disk.s.run("cp", disk.s.path("kept"), f"{disk.store}/{SNAPSHOT}/{ARCHIVE}.fidx")


def maintenance(pbs, disk):
    pbs.control("maintenance", store="store", mode="offline", text="new disks")


def maintenance_over(pbs, disk):
    pbs.control("maintenance", store="store")


def clear(pbs, disk):
    pbs.control("clear")


def at_connect(action, **words):
    return lambda pbs, disk: pbs.fault(action, at="connect", times=0, **words)


AWAY = {
    "stopped": (lambda pbs, disk: pbs.control("stop"), "refused",
                lambda pbs, disk: pbs.control("start")),
    "frozen": (lambda pbs, disk: pbs.control("freeze"), "does not answer", clear),
    "no-handshake": (at_connect("stall"), "does not answer", clear),
    "cut-at-connect": (at_connect("cut"), "closed the connection|TLS|reset by peer", clear),
    "plain-http": (at_connect("raw", text="HTTP/1.1 400 Bad Request\r\n\r\n"), "TLS", clear),
    "log-in-refused": (refuse_log_in, "wrong password", clear),
    "log-in-not-json": (answer_calls("access/ticket", text="<html>"), "'ticket'", clear),
    "log-in-too-long": (answer_calls("access/ticket", text="x", repeat=1 << 20), "more than it may", clear),
    "upgrade-500": (answer_calls("/reader", status=500, text="out of disks"), "out of disks", clear),
    "maintenance": (maintenance, "new disks", maintenance_over),
    "index-changed": (change_index, "not the index any more", restore_index),
    "index-reset": (lambda pbs, disk: pbs.fault("reset", path="/download", times=0), "middle", clear),
}


@pytest.mark.parametrize("away", AWAY)
def test_a_reader_of_a_server_that_is_away_gets_an_error_in_time(s, disk, pbs, away):
    go, why, come_back = AWAY[away]
    path = map_at(s, pbs, "--timeout", "2")
    go(pbs, disk)
    pbs.fault("cut", at="now")
    first = Read(path, 20)
    said = is_lost(s, path)
    second = Read(path, 21)
    for read in (first, second):
        read.fails_at(2)
    assert re.search(why, lost(s, path)["why"]), said
    come_back(pbs, disk)
    assert wait_until(lambda: Read(path, 20).end().data == disk.chunk(20)), lost(s, path)
    Read(path, 22).brings(disk)
    row = s.mapping(path)
    assert (row["state"], row["damaged_chunks"]) == ("ready", 0)
    assert s.pbsmap("unmap", path).err == ""


def test_a_snapshot_that_was_removed_meanwhile(s, disk, pbs):
    path = map_at(s, pbs, "--timeout", "2")
    pbs.control("stop")
    pbs.control("remove", store="store", snapshot=SNAPSHOT)
    pbs.control("start")
    Read(path, 20).fails_at(2)
    assert "not there" in lost(s, path)["why"]
    s.pbsmap("unmap", path)


def make_certificate(s, name):
    s.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
          "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
          "-keyout", s.path(f"{name}.key"), "-out", s.path(f"{name}.pem"))
    return {"cert": s.path(f"{name}.pem"), "key": s.path(f"{name}.key")}


@pytest.mark.parametrize("trust", ["pinned", "authority"])
def test_a_certificate_that_changed_is_refused_until_the_old_one_is_back(s, disk, trust):
    old, new = make_certificate(s, "old"), make_certificate(s, "new")
    os.chmod(old["cert"], 0o600)  # who serves cannot look the authority up any more
    with disk.served(f"--cert={old['cert']}", f"--key={old['key']}") as pbs:
        env = {"PBS_PASSWORD": pbs.password}
        env.update({"PBS_FINGERPRINT": pbs.fingerprint} if trust == "pinned" else {"SSL_CERT_FILE": old["cert"]})
        path = map_at(s, pbs, "--timeout", "2", env=env if trust == "pinned" else {**env, "PBS_FINGERPRINT": ""})
        before, now = pbs.fingerprint, pbs.control("certificate", **new)["fingerprint"]
        Read(path, 10).brings(disk)  # the connection is the old one
        pbs.fault("cut", at="now")
        read = Read(path, 20)
        why = is_lost(s, path) and wait_until(lambda: "certificate" in lost(s, path)["why"] and lost(s, path)["why"])
        assert why, lost(s, path)
        assert before in why and now in why
        read.fails_at(2)
        assert pbs.counters()["sessions"] == 1 and pbs.n_requests("reader") == 1
        pbs.control("certificate", **old)
        assert wait_until(lambda: Read(path, 20).end().data == disk.chunk(20)), lost(s, path)
        s.pbsmap("unmap", path)


def test_two_connections_are_made_again_each_for_itself(s, disk, pbs):
    path = map_at(s, pbs, "--connections", "2")
    for read in [Read(path, n) for n in range(8, 16)]:
        read.brings(disk)
    assert wait_until(lambda: pbs.counters()["sessions"] == 2)
    pbs.fault("cut", at="now", after=CHUNK // 2)
    for read in [Read(path, n) for n in range(16, 48)]:
        read.brings(disk)
    assert wait_until(lambda: pbs.counters()["sessions"] == 4)
    is_found(s, path)


def test_a_restart_while_fio_reads_and_verifies(s, loop, mkstore):
    """fio wrote what it reads: every block has a checksum, and says where it belongs."""
    if not shutil.which("fio"):
        pytest.skip("fio is not here")
    raw, store = s.path("fio.raw"), s.path("fio-store")
    common = ["--name=verify", "--bs=64k", "--size=64m", "--verify=crc32c", "--verify_fatal=1", "--ioengine=psync",
              "--randseed=7", "--minimal", "--verify_state_save=0"]
    s.run("fio", *common, f"--filename={raw}", "--rw=write", "--do_verify=0")
    s.mkstore(store, SNAPSHOT, "--chunk-size=256K", f"{ARCHIVE}={raw}")
    with Pbsd({"store": store}, "--auth-delay=0") as pbs:
        device = map_device(s, pbs, "--cache", "1M")
        reader = s.start("fio", *common, f"--filename={device}", "--rw=randread", "--readonly", "--direct=1",
                         "--numjobs=2", "--loops=40", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for how in ("rst", "fin"):
            pbs.counters(reset=True)
            assert wait_until(lambda: len(pbs.counters()["chunks"]) > 100), "fio reads nothing"
            assert reader.poll() is None, reader.communicate()
            pbs.control("stop", how=how)
            assert is_lost(s, device)
            pbs.control("start")
        pbs.counters(reset=True)
        assert wait_until(lambda: len(pbs.counters()["chunks"]) > 100), "fio reads nothing"
        # It has verified all it read so far, and goes on: an error would have ended it.
        assert reader.poll() is None, reader.communicate()
        is_found(s, device)
        reader.terminate()
        said = reader.communicate(timeout=20)[0].decode()
        rows = [row.split(";") for row in said.splitlines() if row.startswith("3;")]
        assert len(rows) == 2 and all(row[4] == "0" for row in rows), rows  # the error, by fio's HOWTO
        s.pbsmap("unmap", device)


# -- taken away while it is away -------------------------------------------------------------------

class Hanging:
    """A device whose server is away, and a reader that waits for it for ever."""

    def __init__(self, s, pbs, disk):
        self.s = s
        self.device = map_device(s, pbs, "--timeout", "0")
        self.pid = s.mapping(self.device)["pid"]
        pbs.control("stop")
        self.reader = s.start("dd", f"if={self.device}", "of=/dev/null", f"bs={CHUNK}", "skip=20", "count=1",
                              "iflag=direct", stderr=subprocess.PIPE)
        assert wait_until(lambda: state_of(self.reader.pid) == "D")
        is_lost(s, self.device)

    def is_free(self):
        """Nobody waits for anything any more, and nothing is left."""
        assert self.reader.wait(20) == 1, "dd read what cannot be read"
        assert b"Input/output error" in self.reader.stderr.read()
        assert wait_until(lambda: not is_attached(self.device))
        assert wait_until(lambda: not os.path.exists(f"/proc/{self.pid}/fd"))
        assert self.s.list() == []


@pytest.fixture
def hanging(s, loop, pbs, disk):
    return Hanging(s, pbs, disk)


def test_unmap_by_force_frees_who_waits_for_the_server(s, hanging):
    result = s.fails(BUSY, "unmap", hanging.device)
    assert str(hanging.reader.pid) in result.err
    s.pbsmap("unmap", "--force", hanging.device, timeout=20)
    hanging.is_free()


def test_unmap_with_a_wait_gives_up_in_time(s, hanging):
    start = time.monotonic()
    s.fails(BUSY, "unmap", "--wait=1", hanging.device)
    assert 1 <= time.monotonic() - start < 1 + LATE
    s.pbsmap("unmap", "--all", "--force", timeout=20)
    hanging.is_free()


def test_kill_9_frees_who_waits_for_the_server(s, hanging):
    s.kill(hanging.pid)
    hanging.is_free()


def test_signals_free_who_waits_for_the_server(s, hanging):
    s.kill(hanging.pid, signal.SIGTERM)
    assert wait_until(lambda: s.mapping(hanging.device)["state"] == "ending")
    assert hanging.reader.poll() is None
    s.kill(hanging.pid, signal.SIGTERM)
    hanging.is_free()


def test_unmap_does_not_wait_for_a_server_that_is_away(s, disk, pbs):
    """Nobody reads: nothing is missing."""
    path = map_at(s, pbs)
    pbs.control("freeze")
    is_over = Read(path, 20)
    start = time.monotonic()
    s.pbsmap("unmap", "--force", path, timeout=20)
    assert time.monotonic() - start < LATE
    assert is_over.end(20).errno
    assert not s.servers()


def test_a_path_of_a_server_that_is_away_is_unmapped(s, disk, pbs):
    path = map_at(s, pbs)
    pbs.control("stop")
    is_lost(s, path)
    start = time.monotonic()
    s.pbsmap("unmap", path, timeout=20)
    assert time.monotonic() - start < LATE
    assert wait_until(lambda: not s.servers())


# -- a machine that is gone ------------------------------------------------------------------------

def test_a_machine_that_is_gone_and_comes_back(s, root, disk, pbs):
    """Nothing comes back at all, no reset either."""
    with Wire(s, pbs.port) as wire:
        path = map_at(s, pbs, "--timeout", "9", repository=f"{USER}@{wire.address}:{pbs.port}:store",
                      prefix=[*wire.prefix, PBSMAP, "map"])
        Read(path, 10).brings(disk)
        wire.drop()
        read = Read(path, 20)
        assert "does not answer" in is_lost(s, path)["why"]
        wire.join()
        # In the middle of a connection attempt: the kernel asks again after 1, 3, 7 s.
        read.brings(disk)
        is_found(s, path)
        wire.drop()
        Read(path, 21).fails_at(9)
        s.pbsmap("unmap", path, timeout=20)
