# SPDX-License-Identifier: Apache-2.0
"""A disk that hangs, a server process that hangs: nothing else does, and all can be taken away."""
import glob
import os
import signal
import subprocess

import pytest

from harness import BUSY, CHUNK, FAILED, PBSMAP, is_attached, read_direct, sha256_of, wait_until
from test_damage import ZEROS, chunk_path, digests

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
ARCHIVE = "drive-scsi1.img"


class Stuck:
    """A datastore with chunks whose files do not answer: a mapping that was stopped is bound over them."""

    def __init__(self, s, store):
        self.s = s
        self.store = store
        with open(s.path("raw"), "wb") as out:
            out.write(os.urandom(4096))
        s.mkstore(s.path("tiny"), "vm/1/2026-01-02T03:04:05Z", f"tiny.img={s.path('raw')}")
        self.file = s.map("--via", "file", "--repository", s.path("tiny"), "vm/1", "tiny.img", s.path("stuck"))
        self.pid = s.mapping(self.file)["pid"]
        self.chunks = [(i, digest) for i, digest in enumerate(digests(store)) if digest != ZEROS]

    def hang(self, index):
        digest = dict(self.chunks)[index]
        self.s.run("mount", "--bind", self.file, chunk_path(self.store, digest))
        self.s.kill(self.pid, signal.SIGSTOP)
        # A thread that has not stopped yet would still answer.
        assert wait_until(lambda: set(states_of(self.pid)) == {"T"})


@pytest.fixture
def stuck(s, root, mkstore, store):
    stuck = Stuck(s, store)
    yield stuck
    s.kill(stuck.pid, signal.SIGCONT)  # else everything that ends it waits for it to answer


def loops():
    return set(glob.glob("/sys/block/loop*/loop"))


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as text:
        return text.read().rpartition(") ")[2].split()[0]


def states_of(pid):
    """Of its threads."""
    return [state_of(f"{pid}/task/{task}") for task in os.listdir(f"/proc/{pid}/task")]


def fetches(pid):
    """Its threads that fetch chunks are started by the first one."""
    names = [open(path, encoding="utf-8").read() for path in glob.glob(f"/proc/{pid}/task/*/comm")]
    return any(name.startswith(("chunks-", "net-")) for name in names)


def waits_for_a_chunk(mapping):
    """The server process of a `map` that goes on, once it fetches a chunk, which hangs."""
    server = wait_until(lambda: [pid for pid in children_of(mapping.pid) if fetches(pid)])
    assert server, "nothing is fetched"
    return server[0]


def waits_for_a_file(pid):
    """Does a thread of it wait for an answer of FUSE?"""
    places = [open(path, encoding="utf-8").read() for path in glob.glob(f"/proc/{pid}/task/*/wchan")]
    return "request_wait_answer" in places


def children_of(pid):
    return [int(child) for task in glob.glob(f"/proc/{pid}/task/*/children")
            for child in open(task, encoding="utf-8").read().split()]


def test_a_chunk_that_hangs_is_an_error_when_its_time_is_over(s, loop, stuck):
    first, second = stuck.chunks[1][0], stuck.chunks[2][0]
    device = s.map("--timeout", "1", "--repository", stuck.store, SNAPSHOT, ARCHIVE)
    stuck.hang(first)
    with pytest.raises(OSError):
        read_direct(device, first * CHUNK, 4096)
    assert len(read_direct(device, second * CHUNK, 4096)) == 4096
    s.pbsmap("unmap", "--force", device)
    assert wait_until(lambda: not is_attached(device))


def test_kill_9_while_it_waits_for_the_first_byte(s, loop, stuck):
    stuck.hang(0)
    before = loops()
    mapping = s.start(PBSMAP, "map", "--repository", stuck.store, SNAPSHOT, ARCHIVE)
    server = waits_for_a_chunk(mapping)
    s.kill(server)
    assert mapping.wait(20) == FAILED
    assert wait_until(lambda: loops() == before)
    assert wait_until(lambda: not os.path.exists(f"/proc/{server}/fd"))


def test_an_interrupt_while_it_waits_for_the_first_byte(s, loop, stuck):
    stuck.hang(0)
    before = loops()
    mapping = s.start(PBSMAP, "map", "--repository", stuck.store, SNAPSHOT, ARCHIVE, start_new_session=True)
    waits_for_a_chunk(mapping)
    os.killpg(mapping.pid, signal.SIGINT)
    assert mapping.wait(20) in (130, -signal.SIGINT)
    assert wait_until(lambda: loops() == before)


def test_kill_9_with_reads_on_their_way(s, loop, stuck):
    """Nobody has the device open any more but the keeper, and the kernel still waits for pages of it."""
    index = stuck.chunks[1][0]
    device = s.map("--repository", stuck.store, SNAPSHOT, ARCHIVE)
    stuck.hang(index)
    reader = s.start("dd", f"if={device}", "of=/dev/null", "bs=1M", f"skip={index * CHUNK >> 20}")
    assert wait_until(lambda: state_of(reader.pid) == "D")
    reader.kill()
    server = s.mapping(device)["pid"]
    s.kill(server)
    assert reader.wait(20) == -signal.SIGKILL
    assert wait_until(lambda: not is_attached(device))
    assert wait_until(lambda: not os.path.exists(f"/proc/{server}/fd"))


@pytest.mark.patient
def test_a_server_process_that_does_not_answer_is_shown_and_can_be_taken_away(s, loop, golden):
    image = golden.image(SNAPSHOT, ARCHIVE)
    device = s.map(*image.arguments())
    name = s.mapping(device)["name"]
    server = s.mapping(device)["pid"]
    s.kill(server, signal.SIGSTOP)
    row = s.mapping(device)
    assert (row["state"], row["name"], row["pid"]) == ("silent", name, server)
    assert s.map(*image.arguments()) != device  # with a name of its own
    assert {row["name"] for row in s.list()} == {name, name + "#2"}
    s.fails(FAILED, "unmap", device)
    assert is_attached(device)
    s.pbsmap("unmap", "--force", device)
    assert wait_until(lambda: not is_attached(device))
    s.pbsmap("unmap", name + "#2")
    assert s.list() == []


@pytest.mark.patient
def test_a_path_whose_server_process_does_not_answer(s, golden):
    image = golden.image(SNAPSHOT, ARCHIVE)
    path = s.map("--via", "file", *image.arguments(), s.path("image"))
    s.kill(s.mapping(path)["pid"], signal.SIGSTOP)
    assert s.mapping(path)["state"] == "silent"
    s.pbsmap("unmap", "--force", path)
    assert s.list() == []
    assert not os.path.exists(path)


def test_the_death_of_the_keeper_takes_the_device_away(s, loop, golden):
    image = golden.image(SNAPSHOT, ARCHIVE)
    device = s.map(*image.arguments())
    keeper, = children_of(s.mapping(device)["pid"])
    s.kill(keeper)
    assert wait_until(lambda: not s.servers())
    assert not is_attached(device)
    assert s.list() == []


def test_the_keeper_has_no_rights_it_does_not_need(s, loop, golden):
    image = golden.image(SNAPSHOT, ARCHIVE)
    device = s.map(*image.arguments())
    keeper, = children_of(s.mapping(device)["pid"])
    with open(f"/proc/{keeper}/status", encoding="utf-8") as rows:
        status = dict(row.rstrip("\n").split(":\t", 1) for row in rows)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert os.readlink(f"/proc/{keeper}/cwd") == "/"
    assert sha256_of(device, image.size) == image.sha256


def test_a_mapped_page_without_a_descriptor_counts_as_busy(s, loop, golden):
    device = s.map(*golden.image(SNAPSHOT, ARCHIVE).arguments())
    code = "import mmap, os, signal, sys; fd = os.open(sys.argv[1], os.O_RDONLY); " \
           "page = mmap.mmap(fd, 4096, prot=mmap.PROT_READ); os.closerange(3, 64); print(page[0], flush=True); " \
           "signal.pause()"
    holder = s.start("/usr/bin/python3", "-c", code, device, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline()
        result = s.fails(BUSY, "unmap", device)
        assert str(holder.pid) in result.err
    finally:
        holder.kill()
        holder.wait()
    s.pbsmap("unmap", device)
