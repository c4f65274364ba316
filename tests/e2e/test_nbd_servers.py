# SPDX-License-Identifier: Apache-2.0
"""The kernel NBD device alone, over servers that are not ours: nbdkit and qemu-nbd."""
import errno
import hashlib
import os
import random
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import BUILD, MIB, contents_of, open_fd, read_direct, size_of, wait_until
from test_hang import states_of
from test_nbd_kernel import connected, has_reads_on_their_way, is_connected

ATTACH = os.path.join(BUILD, "tests", "tools", "nbd_attach")
SIZE = 8 * MIB


@pytest.fixture
def raw(s):
    """A disk with two partitions and data everywhere."""
    path = s.path("raw.img")
    with open(path, "wb") as out:
        out.write(random.Random(1).randbytes(SIZE))
    s.run("dd", "if=/dev/zero", f"of={path}", "conv=notrunc", "bs=64K", "count=1")
    s.run("sh", "-c", 'printf "start=2048,size=4096\\nstart=8192\\n" | sfdisk --quiet --label dos "$1"', "sh", path)
    return path


class Server:
    def __init__(self, s, *command):
        self.socket = s.path(f"server-{len(s.children)}")
        self.process = s.start(*[word.replace("SOCKET", self.socket) for word in command])
        assert wait_until(lambda: os.path.exists(self.socket))

    def connect(self):
        """
        A connection past the handshake, with NBD_OPT_EXPORT_NAME, and the size the server says.

        Source: the NBD project's doc/proto.md, "Fixed newstyle negotiation".
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket)
        assert connection.recv(18, socket.MSG_WAITALL)[:16] == b"NBDMAGICIHAVEOPT"
        connection.sendall(struct.pack(">L8sLL", 3, b"IHAVEOPT", 1, 0))
        size, _ = struct.unpack(">QH", connection.recv(10, socket.MSG_WAITALL))
        return connection, size


def nbdkit(s, raw):
    return Server(s, "nbdkit", "-f", "-U", "SOCKET", "file", raw)


def qemu_nbd(s, raw):
    return Server(s, "qemu-nbd", "-t", "--shared=8", "-r", "-f", "raw", "-k", "SOCKET", raw)


class Device:
    """What nbd_attach holds."""

    def __init__(self, s, server, number="any", timeout=60, connections=1):
        made = [server.connect() for _ in range(connections)]
        fds = [connection.fileno() for connection, _ in made]
        self.process = s.start(ATTACH, number, made[0][1], timeout, *fds, pass_fds=fds, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, stdin=subprocess.PIPE)
        for connection, _ in made:
            connection.close()
        self.path, *self.partitions = self.process.stdout.readline().split() or [None]
        self.why = self.process.stderr.read() if not self.path else ""
        self.name = self.path and os.path.basename(self.path)

    def disconnect(self):
        self.process.stdin.write("disconnect\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def let_go(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0


def gone(device):
    return wait_until(lambda: not is_connected(device.name))


@pytest.fixture(autouse=True)
def nothing_stays(nbd):
    assert connected() == set()
    yield
    assert wait_until(lambda: connected() == set()), connected()


@pytest.mark.parametrize("serve", [nbdkit, qemu_nbd])
@pytest.mark.parametrize("connections", [1, 4])
def test_it_shows_what_the_server_has(s, raw, serve, connections):
    device = Device(s, serve(s, raw), connections=connections)
    with open(raw, "rb") as file:
        expected = file.read()
    assert size_of(device.path) == SIZE
    assert hashlib.sha256(contents_of(device.path)).digest() == hashlib.sha256(expected).digest()
    assert read_direct(device.path, 12345 * 512, 65536) == expected[12345 * 512:][:65536]
    assert s.run("blockdev", "--getro", device.path).out == "1\n"
    assert device.partitions == [f"{device.path}p1", f"{device.path}p2"]
    assert contents_of(device.partitions[0]) == expected[2048 * 512:][:4096 * 512]
    assert s.run("blockdev", "--getro", device.partitions[1]).out == "1\n"
    with open_fd(device.path, os.O_RDWR | os.O_DIRECT) as fd, pytest.raises(OSError):
        os.pwrite(fd, bytes(4096), 0)
    device.let_go()
    assert gone(device)
    with open(raw, "rb") as file:
        assert file.read() == expected


def test_a_named_device_that_is_in_use_is_refused(s, raw):
    server = nbdkit(s, raw)
    first = Device(s, server, number=3)
    assert first.path == "/dev/nbd3"
    second = Device(s, server, number=3)
    assert second.why == f"{errno.EBUSY} /dev/nbd3 is in use\n"
    third = Device(s, server)
    assert third.path not in (None, "/dev/nbd3")
    # One that the module has not made at its start.
    fourth = Device(s, server, number=40)
    assert fourth.path == "/dev/nbd40" and size_of("/dev/nbd40") == SIZE
    for device in (first, third, fourth):
        device.let_go()


def test_kill_9_of_the_holder_leaves_nothing(s, raw):
    device = Device(s, nbdkit(s, raw))
    s.kill(device.process.pid)
    assert gone(device)


def test_kill_9_of_the_holder_leaves_it_to_its_last_user(s, raw):
    device = Device(s, nbdkit(s, raw))
    with open_fd(device.partitions[1]) as fd:
        s.kill(device.process.pid)
        device.process.wait()
        assert len(os.pread(fd, 4096, 0)) == 4096
        assert is_connected(device.name)
    assert gone(device)


def test_somebody_who_opens_and_closes_it_does_not_take_it_away(s, raw):
    device = Device(s, nbdkit(s, raw))
    for _ in range(5):
        s.run("blkid", "-p", device.path, check=False)
    assert is_connected(device.name)
    device.let_go()


def test_a_disconnect_ends_reads_that_wait(s, raw):
    server = nbdkit(s, raw)
    device = Device(s, server)
    s.kill(server.process.pid, signal.SIGSTOP)
    assert wait_until(lambda: set(states_of(server.process.pid)) == {"T"})
    reader = s.start("dd", f"if={device.path}", "of=/dev/null", "bs=4K", "count=1", "iflag=direct",
                     stderr=subprocess.DEVNULL)
    assert wait_until(lambda: has_reads_on_their_way(device.path))
    device.disconnect()
    assert reader.wait(20) == 1
    s.kill(server.process.pid, signal.SIGCONT)
    device.let_go()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_that_is_stuck_or_dead_costs_the_time_limit_and_no_more(s, raw, number):
    server = nbdkit(s, raw)
    device = Device(s, server, timeout=3, connections=2)
    s.kill(server.process.pid, number)
    begun = time.monotonic()
    with pytest.raises(OSError) as why:
        read_direct(device.path, 4 * MIB, 4096)
    assert why.value.errno == errno.EIO
    assert time.monotonic() - begun < 30  # the kernel looks at its clock now and then
    device.let_go()


def test_what_cannot_be_connected_is_said_in_one_line(s, raw):
    server = nbdkit(s, raw)
    device = Device(s, server, number=99999999)
    assert device.path is None and device.why.startswith(f"{errno.ENOENT} ") and device.why.count("\n") == 1
    s.run("rmmod", "nbd")
    # Loaded again when it is wanted.
    device = Device(s, server)
    assert device.path
    device.let_go()
    gone(device)
    s.run("rmmod", "nbd")
    s.run("mount", "-t", "tmpfs", "none", "/lib/modules")
    try:
        device = Device(s, server)
        assert device.path is None and device.why.startswith(f"{errno.ENODEV} ")
        assert "loop" in device.why and "serve" in device.why and device.why.count("\n") == 1
    finally:
        s.run("umount", "/lib/modules")
        s.run("modprobe", "nbd")
