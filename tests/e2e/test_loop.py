# SPDX-License-Identifier: Apache-2.0
"""The block device as the kernel and its users see it."""
import hashlib
import os
import random
import threading

import pytest

from harness import CHUNK, MIB, contents_of, is_attached, number_of, open_fd, read_direct, sha256_of, size_of

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"


@pytest.fixture
def parts(golden):
    return golden.image(SNAPSHOT, "drive-scsi0.img")


@pytest.fixture
def small(golden):
    return golden.image(SNAPSHOT, "drive-scsi1.img")


def sysfs(device, *names):
    with open(os.path.join("/sys/block", os.path.basename(device), *names), encoding="utf-8") as text:
        return text.read().strip()


@pytest.mark.core
@pytest.mark.kernel
def test_it_is_read_only_for_everybody(s, loop, small):
    device = s.map(*small.arguments())
    assert s.run("blockdev", "--getro", device).out.strip() == "1"
    with pytest.raises(OSError), open_fd(device, os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 512, 0)
    assert s.run("blockdev", "--setrw", device, check=False) is not None
    with pytest.raises(OSError), open_fd(device, os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 512, 0)
        os.fsync(fd)
    assert sha256_of(device, small.size) == small.sha256


@pytest.mark.kernel
def test_sectors_are_512_bytes_and_it_goes_by_itself(s, loop, small):
    device = s.map(*small.arguments())
    assert sysfs(device, "queue", "logical_block_size") == "512"
    assert sysfs(device, "loop", "autoclear") == "1"
    assert sysfs(device, "loop", "dio") == "1"


@pytest.mark.kernel
def test_nothing_shows_in_the_mount_table(s, loop, small):
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        before = rows.read()
    s.map(*small.arguments())
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        assert rows.read() == before


@pytest.mark.kernel
def test_partition_nodes_exist_as_soon_as_map_returns(s, loop, parts):
    device = s.map(*parts.arguments())
    for number in (1, 2):
        assert size_of(f"{device}p{number}") > MIB
    s.mount(f"{device}p1", "ro,noload")
    s.umount(s.path(f"mnt-{os.path.basename(device)}p1"))
    s.pbsmap("unmap", device)
    assert not os.path.exists(f"/sys/block/{os.path.basename(device)}/{os.path.basename(device)}p1")


@pytest.mark.core
def test_many_readers_at_once_get_the_right_bytes(s, loop, parts):
    device = s.map(*parts.arguments(), "--cache", "16M")
    expected = contents_of(device, parts.size)
    assert hashlib.sha256(expected).hexdigest() == parts.sha256
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        for _ in range(60):
            length = 512 * chance.randrange(1, 600)
            off = 512 * chance.randrange((parts.size - length) // 512)
            if read_direct(device, off, length) != expected[off:off + length]:
                wrong.append((seed, off, length))

    readers = [threading.Thread(target=read, args=[seed]) for seed in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong


@pytest.mark.kernel
def test_one_chunk_is_fetched_once_however_many_ask(s, loop, parts):
    device = s.map(*parts.arguments())
    readers = [threading.Thread(target=read_direct, args=[device, off, 4096]) for off in range(0, CHUNK, CHUNK // 16)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    contents_of(device)
    assert s.mapping(device)["fetched_chunks"] <= -(-parts.size // CHUNK)


def test_more_than_eight_devices(s, loop, small):
    """Most systems make eight nodes at boot; the rest are made as they are asked for."""
    devices = [s.map(*small.arguments()) for _ in range(12)]
    assert len(set(devices)) == 12
    assert any(number_of(device) >= 8 for device in devices)
    for device in devices:
        assert read_direct(device, 0, 4096) is not None
    assert sha256_of(devices[-1], small.size) == small.sha256
    s.pbsmap("unmap", "--all")
    assert not any(is_attached(device) for device in devices)


def test_a_device_behind_the_256th_has_partitions_as_well(s, loop, parts):
    """Numbers that do not fit into the eight bits a minor number once had."""
    with open(s.path("small"), "wb") as out:
        out.truncate(4096)
    others = []
    try:
        while len(others) < 400 and not (others and number_of(others[-1]) >= 255):
            others.append(s.run("losetup", "--find", "--show", "--read-only", s.path("small")).out.strip())
        device = s.map(*parts.arguments())
        assert number_of(device) >= 256
        assert sha256_of(device, parts.size) == parts.sha256
        assert size_of(f"{device}p2") > MIB
        s.pbsmap("unmap", number_of(device))
        assert not is_attached(device)
    finally:
        for other in others:
            s.run("losetup", "--detach", other, check=False)


@pytest.mark.kernel
def test_maps_that_race_for_a_free_device_all_get_one(s, loop, small):
    devices, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: devices.append(s.map(*small.arguments()))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(devices)) == 6
    assert len(s.list()) == 6


def make_image(s, name, size, seed=1):
    """Data, holes, data: what a disk looks like."""
    path = s.path(name)
    chance = random.Random(seed)
    with open(path, "wb") as out:
        for off in range(0, size, 16 * MIB):
            out.seek(off)
            out.write(chance.randbytes(min(5 * MIB + 512, size - off)))
        out.truncate(size)
    return path


@pytest.mark.parametrize("mode", ["plain", "compressed", "encrypted", "signed"])
def test_what_mkstore_writes_is_what_comes_out(s, loop, golden, mkstore, mode):
    path = make_image(s, "raw", 41 * MIB + 1536)
    key = ["--keyfile", golden.key("key-none.json")]
    how = {"plain": ["--plain"], "compressed": [], "encrypted": key, "signed": [*key, "--sign-only"]}[mode]
    snapshot = s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", *how, f"disk.img={path}").out.strip()
    device = s.map("--repository", s.path("made"), *(key if "--keyfile" in how else []), snapshot, "disk.img")
    assert sha256_of(device) == sha256_of(path)


@pytest.mark.parametrize("size", [1, 511, 513, 4095, 4097, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 513])
def test_odd_sizes_are_padded_on_devices_and_exact_in_files(s, loop, mkstore, size):
    data = random.Random(size).randbytes(size)
    with open(s.path("raw"), "wb") as out:
        out.write(data)
    s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", f"disk.img={s.path('raw')}")
    at = ["--repository", s.path("made"), "vm/1", "disk.img"]
    assert contents_of(s.map("--via", "file", *at, s.path("image"))) == data
    assert contents_of(s.map(*at)) == data + bytes(-size % 512)


@pytest.mark.kernel
def test_a_huge_sparse_image(s, loop, mkstore):
    s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", "--index-only", "1T", "disk.img")
    device = s.map("--repository", s.path("made"), "vm/1", "disk.img")
    assert size_of(device) == 1 << 40
    assert len(read_direct(device, (1 << 40) - 4096, 4096)) == 4096
