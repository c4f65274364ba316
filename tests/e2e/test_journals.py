# SPDX-License-Identifier: Apache-2.0
"""File systems that were in use: `map` says how they are mounted from a device that cannot be written to."""
import json
import os
import signal
import subprocess
import time

import pytest

from harness import CHUNK, MIB, MKSTORE, PBSMAP, wait_until
from test_damage import ARCHIVE, SNAPSHOT, chunk_path, digests
from test_hang import Stuck

PART = 2 * CHUNK  # each begins with a chunk of its own
USED = "ext4 that was in use: mount -o ro,noload"


def make_ext4(s, name, is_used):
    path = s.path(name)
    os.makedirs(s.path("files"), exist_ok=True)
    with open(s.path("files", "hello"), "w", encoding="utf-8") as out:
        out.write("from the backup\n")
    with open(path, "wb") as out:
        out.truncate(PART)
    s.run("mkfs.ext4", "-q", "-d", s.path("files"), path)
    if is_used:
        s.run("debugfs", "-w", "-R", "feature needs_recovery", path)
    return path


def write_disk(out, parts):
    """Partitions one behind the other, behind a chunk for their table."""
    for i, path in enumerate(parts):
        start = CHUNK + i * PART
        entry = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (start // 512).to_bytes(4, "little") + \
            (PART // 512).to_bytes(4, "little")
        out.seek(446 + 16 * i)
        out.write(entry)
        out.seek(start)
        with open(path, "rb") as part:
            out.write(part.read())
    out.seek(510)
    out.write(b"\x55\xaa")


@pytest.fixture
def disk(s, mkstore):
    """A store with a disk of three partitions; the one in the middle was unmounted."""
    parts = [make_ext4(s, f"part{i}", i != 2) for i in (1, 2, 3)]
    with open(s.path("raw"), "wb") as out:
        write_disk(out, parts)
    with open(s.path("xfs"), "wb") as out:
        out.write(b"XFSB" + bytes(MIB - 4))
    store = s.path("disks")
    s.run(MKSTORE, "--lazy", store, SNAPSHOT, f"{ARCHIVE}={s.path('raw')}", f"whole.img={parts[0]}",
          f"xfs.img={s.path('xfs')}", f"clean.img={parts[1]}")
    return store


def say(s, store, *options, archive=ARCHIVE):
    """The device, and what was said of it and of its partitions: node without the device, and the rest."""
    result = s.pbsmap("map", *options, "--repository", store, SNAPSHOT, archive)
    device = result.out[:-1]
    assert result.out.startswith("/dev/") and result.out.count("\n") == 1, result
    lines = [line.removeprefix(device).split(": ", 1) for line in result.err.splitlines() if line.startswith(device)]
    return device, [tuple(line) for line in lines]


def check_what_is_said(s, store, *options):
    device, said = say(s, store, *options)
    assert said == [("p1", USED), ("p3", USED)]
    refused = s.run("mount", "-t", "ext4", "-o", "ro", f"{device}p1", s.path("files"), check=False)
    assert refused.status != 0, "nothing is to be replayed: this test shows nothing"
    for node, options in [("p1", said[0][1].rpartition("mount -o ")[2]), ("p2", "ro")]:
        target = s.mount(f"{device}{node}", options)
        with open(os.path.join(target, "hello"), encoding="utf-8") as text:
            assert text.read() == "from the backup\n"
        s.umount(target)
    s.pbsmap("unmap", device)


@pytest.mark.kernel
def test_the_option_is_said_of_those_in_use_and_of_no_other(s, loop, disk):
    check_what_is_said(s, disk)


def test_of_a_kernel_nbd_device_as_well(s, nbd, disk):
    check_what_is_said(s, disk, "--via", "nbd")


def test_programs_are_told_as_well(s, loop, disk):
    mapped = s.pbsmap("map", "--json", "--repository", disk, SNAPSHOT, ARCHIVE).json
    assert mapped["mount_options"] == {f"{mapped['device']}p{i}": "ro,noload" for i in (1, 3)}


def test_a_device_without_partitions(s, loop, disk):
    assert say(s, disk, archive="whole.img")[1] == [("", USED)]
    assert say(s, disk, archive="xfs.img")[1] == [("", "xfs, perhaps in use: mount -o ro,norecovery")]
    assert say(s, disk, archive="clean.img")[1] == []


def test_nothing_is_said_of_a_file(s, disk):
    result = s.pbsmap("map", "--via", "file", "--json", "--repository", disk, SNAPSHOT, ARCHIVE, s.path("image"))
    assert "ext4" not in result.err
    assert "mount_options" not in result.json


def test_of_one_whose_start_is_damaged_nothing_is_said(s, loop, disk):
    os.truncate(chunk_path(disk, digests(disk)[1]), 100)
    device, said = say(s, disk)
    assert said == [("p3", USED)]
    assert os.path.exists(f"{device}p1")


@pytest.fixture
def stuck(s, root, disk):
    stuck = Stuck(s, disk)
    yield stuck
    s.kill(stuck.pid, signal.SIGCONT)


def give_to(store, user):
    for top, _, names in os.walk(store):
        for path in [top, *(os.path.join(top, name) for name in names)]:
            os.chown(path, user, user)


@pytest.mark.patient
@pytest.mark.directory  # the test server hangs as a whole
@pytest.mark.parametrize("owner", [0, 34])
def test_a_start_that_does_not_come_is_not_waited_for(s, loop, stuck, owner):
    """Of another user's store it is not even a wait, but an error; as root's it would hold up who gives up rights."""
    give_to(stuck.store, owner)
    stuck.hang(1)
    begin = time.monotonic()
    device, said = say(s, stuck.store, "--timeout", "50")
    took = time.monotonic() - begin
    assert took < 20  # 1.5 seconds, and a slow machine
    assert owner or took > 1, "nothing hangs: this test shows nothing"
    assert said == [("p3", USED)], "the others were not asked for at once"
    s.pbsmap("unmap", "--force", device)


def test_in_the_foreground_it_is_said_as_well(s, loop, disk):
    with open(s.path("said"), "wb") as err:
        server = s.start(PBSMAP, "map", "--foreground", "--json", "--repository", disk, SNAPSHOT, ARCHIVE,
                         stdout=subprocess.PIPE, stderr=err)
    mapped = json.loads(server.stdout.readline())
    assert "mount_options" not in mapped, "somebody has looked: the manual does not say so"
    lines = [f"{mapped['device']}p{i}: {USED}\n" for i in (1, 3)]
    with open(s.path("said"), encoding="utf-8") as text:
        assert wait_until(lambda: text.seek(0) == 0 and "".join(lines) in text.read())
    s.pbsmap("unmap", mapped["device"])
    assert server.wait(20) == 0
