# SPDX-License-Identifier: Apache-2.0
"""Damage costs exactly the range it touches, and a repaired chunk is readable again at once."""
import errno
import hashlib
import os

import pytest

from harness import CHUNK, DAMAGED, contents_of, open_fd, read_direct, wait_until

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
ARCHIVE = "drive-scsi1.img"
HEADER = 4096  # of a fixed index; digests of 32 bytes follow
ZEROS = hashlib.sha256(bytes(CHUNK)).hexdigest()


def digests(store, snapshot=SNAPSHOT, archive=ARCHIVE):
    with open(os.path.join(store, snapshot, archive + ".fidx"), "rb") as index:
        table = index.read()[HEADER:]
    return [table[off:off + 32].hex() for off in range(0, len(table), 32)]


def chunk_path(store, digest):
    return os.path.join(store, ".chunks", digest[:4], digest)


class Damaged:
    """A store with one spoilt chunk: the first of the image that is not all zeros."""

    def __init__(self, s, store):
        self.store = store
        self.index = next(i for i, digest in enumerate(digests(store)) if digest != ZEROS)
        self.chunk = chunk_path(store, digests(store)[self.index])
        self.whole = s.path("whole-chunk")
        s.run("cp", "-a", self.chunk, self.whole)
        # Chunks are written once and never changed: root may, and so may the owner now.
        os.chmod(self.chunk, 0o644)

    def flip(self, s):
        with open(self.chunk, "r+b") as chunk:
            middle = os.path.getsize(self.chunk) // 2
            chunk.seek(middle)
            byte = chunk.read(1)[0]
            chunk.seek(middle)
            chunk.write(bytes([byte ^ 0x10]))

    def cut(self, s):
        os.truncate(self.chunk, os.path.getsize(self.chunk) - 1)

    def cut_in_the_header(self, s):
        os.truncate(self.chunk, 5)

    def empty(self, s):
        os.truncate(self.chunk, 0)

    def remove(self, s):
        os.unlink(self.chunk)

    def swap(self, s):
        """Another chunk, good in itself, under this one's name."""
        other = next(d for d in digests(self.store, archive="drive-scsi0.img")
                     if d != ZEROS and d not in digests(self.store))
        s.run("cp", chunk_path(self.store, other), self.chunk)

    def link(self, s):
        os.unlink(self.chunk)
        os.symlink(self.whole, self.chunk)

    def grow(self, s):
        with open(self.chunk, "ab") as chunk:
            chunk.write(b"x")

    def repair(self, s):
        s.run("cp", "-a", "--remove-destination", self.whole, self.chunk)


@pytest.fixture
def damaged(s, store):
    return Damaged(s, store)


def reads_fail(path, off):
    with open_fd(path) as fd:
        with pytest.raises(OSError) as caught:
            os.pread(fd, 4096, off)
    return caught.value.errno == errno.EIO


@pytest.mark.parametrize("how", ["flip", "cut", "cut_in_the_header", "empty", "remove", "swap", "grow",
                                 pytest.param("link", marks=pytest.mark.directory)])
def test_a_spoilt_chunk_fails_only_its_range_until_it_is_repaired(s, golden, damaged, how):
    expected = contents_of_golden(s, golden)
    getattr(damaged, how)(s)
    path = s.path("image")
    s.map("--via", "file", "--repository", damaged.store, SNAPSHOT, ARCHIVE, path)
    first, last = damaged.index * CHUNK, (damaged.index + 1) * CHUNK - 4096
    assert reads_fail(path, first) and reads_fail(path, last)
    with open_fd(path) as fd:
        for off in range(0, len(expected), CHUNK // 2):
            if off // CHUNK != damaged.index:
                assert os.pread(fd, 4096, off) == expected[off:off + 4096], off
    assert s.mapping(path)["damaged_chunks"] == 1
    damaged.repair(s)
    assert contents_of(path) == expected
    s.pbsmap("unmap", path)


def contents_of_golden(s, golden):
    """What is expected, from the store nobody damaged; test_images.py shows that it is right."""
    path = s.path("expected")
    s.map("--via", "file", "--repository", golden.store, SNAPSHOT, ARCHIVE, path)
    data = contents_of(path)
    s.pbsmap("unmap", path)
    assert hashlib.sha256(data).hexdigest() == golden.image(SNAPSHOT, ARCHIVE).sha256
    return data


@pytest.mark.core
def test_a_spoilt_chunk_on_a_device(s, loop, golden, damaged):
    expected = contents_of_golden(s, golden)
    damaged.flip(s)
    device = s.map("--repository", damaged.store, SNAPSHOT, ARCHIVE)
    good = (damaged.index + 1) % len(digests(damaged.store)) * CHUNK
    with pytest.raises(OSError):
        read_direct(device, damaged.index * CHUNK, 4096)
    assert read_direct(device, good, 4096) == expected[good:good + 4096]
    damaged.repair(s)
    assert read_direct(device, damaged.index * CHUNK, 4096) == \
        expected[damaged.index * CHUNK:damaged.index * CHUNK + 4096]
    s.pbsmap("unmap", device)


def test_encrypted_chunks_are_authenticated(s, golden, store):
    snapshot, archive = "vm/204/2024-06-02T00:00:00Z", "drive-scsi0.img"
    victim = chunk_path(store, digests(store, snapshot, archive)[0])
    os.chmod(victim, 0o644)
    with open(victim, "r+b") as chunk:
        chunk.seek(100)
        byte = chunk.read(1)[0]
        chunk.seek(100)
        chunk.write(bytes([byte ^ 1]))
    path = s.path("image")
    s.map("--via", "file", "--repository", store, "--keyfile", golden.key("key-none.json"), snapshot, archive, path)
    assert reads_fail(path, 0)


def spoil(path, off, mask=0x01):
    os.chmod(path, 0o644)
    with open(path, "r+b") as out:
        out.seek(off)
        byte = out.read(1)[0]
        out.seek(off)
        out.write(bytes([byte ^ mask]))


FILES = ["index.json.blob", ARCHIVE + ".fidx"]
# magic, what is behind it, the last byte; of an index: magic, image size, chunk size, the last digest
SPOTS = [(FILES[0], off) for off in (0, 20, -1)] + [(FILES[1], off) for off in (0, 64, 73, -1)]


@pytest.mark.parametrize("name,off", SPOTS)
def test_a_flipped_bit_in_manifest_or_index_is_damage(s, store, name, off):
    path = os.path.join(store, SNAPSHOT, name)
    spoil(path, off % os.path.getsize(path))
    s.fails(DAMAGED, "map", "--via", "file", "--repository", store, SNAPSHOT, ARCHIVE, s.path("image"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_manifest_or_index_that_was_cut_is_damage(s, store, name, size):
    path = os.path.join(store, SNAPSHOT, name)
    os.chmod(path, 0o644)
    os.truncate(path, size % os.path.getsize(path) if size else 0)
    s.fails(DAMAGED, "map", "--via", "file", "--repository", store, SNAPSHOT, ARCHIVE, s.path("image"))


def test_the_index_of_another_archive_is_damage(s, store):
    folder = os.path.join(store, SNAPSHOT)
    s.run("cp", os.path.join(folder, "drive-scsi0.img.fidx"), os.path.join(folder, "drive-scsi1.img.fidx"))
    s.fails(DAMAGED, "map", "--via", "file", "--repository", store, SNAPSHOT, ARCHIVE, s.path("image"))


@pytest.mark.directory
def test_files_are_not_followed_out_of_the_datastore(s, store):
    folder = os.path.join(store, SNAPSHOT)
    s.run("mv", os.path.join(folder, "index.json.blob"), s.path("elsewhere"))
    os.symlink(s.path("elsewhere"), os.path.join(folder, "index.json.blob"))
    result = s.pbsmap("map", "--via", "file", "--repository", store, SNAPSHOT, ARCHIVE, s.path("image"), check=False)
    assert result.status != 0, result


@pytest.mark.directory
def test_a_datastore_that_comes_back_under_its_path_is_used_again(s, golden, store):
    """A USB disk that was pulled and plugged in again."""
    expected = contents_of_golden(s, golden)
    path = s.path("image")
    s.map("--via", "file", "--cache", "0", "--timeout", "1", "--repository", store, SNAPSHOT, ARCHIVE, path)
    with open_fd(path) as fd:
        assert os.pread(fd, 4096, 0) == expected[:4096]
    away = s.path("away")
    s.run("cp", "-a", store, away)
    s.run("rm", "-r", store)
    index = max(i for i, digest in enumerate(digests(away)) if digest != ZEROS)
    assert reads_fail(path, index * CHUNK)
    s.run("mv", away, store)
    assert wait_until(lambda: contents_of(path) == expected)
