# SPDX-License-Identifier: Apache-2.0
"""--via file: a plain read-only file, for everybody who may use FUSE."""
import errno
import hashlib
import os
import random
import shutil
import stat
import threading

import pytest

from harness import BUSY, CHUNK, PBSMAP, contents_of, mounts_below, open_fd, sha256_of, wait_until

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
NOBODY = 65534


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi0.img")


@pytest.fixture
def path(s, image):
    return s.map("--via", "file", *image.arguments(), s.path("image"))


@pytest.mark.core
def test_it_is_a_read_only_file_of_exactly_its_size(s, image, path):
    about = os.stat(path)
    assert stat.S_ISREG(about.st_mode)
    assert not about.st_mode & 0o222
    assert about.st_size == image.size
    with pytest.raises(OSError):
        os.open(path, os.O_RDWR)
    row = s.mapping(path)
    assert row["via"] == "file"
    s.pbsmap("unmap", path)
    assert path not in mounts_below(s.directory)
    assert not s.servers()


def test_any_offset_any_length(s, image, path):
    expected = contents_of(path)
    assert hashlib.sha256(expected).hexdigest() == image.sha256
    chance = random.Random(7)
    with open_fd(path) as fd:
        for _ in range(300):
            off = chance.choice([CHUNK, 2 * CHUNK, image.size, chance.randrange(image.size)]) \
                - chance.randrange(0, 3000)
            length = chance.randrange(1, 9000)
            assert os.pread(fd, length, off) == expected[off:off + length]
        assert os.pread(fd, 100, image.size) == b""
        assert os.pread(fd, 100, image.size - 1) == expected[-1:]


def holes_of(fd, size):
    off, found = 0, []
    while off < size:
        hole = os.lseek(fd, off, os.SEEK_HOLE)
        if hole >= size:
            break
        try:
            off = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO
            off = size
        found.append((hole, off))
    return found


def test_zero_chunks_are_holes(s, image, path):
    expected = contents_of(path)
    zeros = [off for off in range(0, image.size - CHUNK + 1, CHUNK) if not any(expected[off:off + CHUNK])]
    assert zeros, "this image has no zero chunk"
    with open_fd(path) as fd:
        holes = holes_of(fd, image.size)
        covered = [off for hole, end in holes for off in range(hole, end, CHUNK)]
        assert covered == zeros
        with pytest.raises(OSError) as caught:
            os.lseek(fd, image.size, os.SEEK_DATA)
        assert caught.value.errno == errno.ENXIO


def test_a_copy_is_sparse(s, mkstore, image):
    size = 64 << 20
    with open(s.path("raw"), "wb") as out:
        out.write(b"a" * 512)
        out.truncate(size)
    s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", f"disk.img={s.path('raw')}")
    path = s.map("--via", "file", "--repository", s.path("made"), "vm/1", "disk.img", s.path("image"))
    s.run("cp", "--sparse=auto", path, s.path("copy"))
    assert sha256_of(s.path("copy")) == sha256_of(s.path("raw"))
    assert os.stat(s.path("copy")).st_blocks * 512 <= CHUNK


def test_an_open_file_counts_as_busy(s, path):
    with open_fd(path):
        result = s.fails(BUSY, "unmap", path)
        assert str(os.getpid()) in result.err
    s.pbsmap("unmap", path)


def test_plain_umount_ends_the_mapping(s, root, path):
    s.run("umount", path)
    assert wait_until(lambda: not s.servers())
    assert s.list() == []


def test_kill_9_leaves_no_mount(s, path):
    s.kill(s.mapping(path)["pid"])
    # Auto-unmount, or the next command sweeps it.
    wait_until(lambda: path not in mounts_below(s.directory), 2)
    rows = s.list()
    if rows:
        assert rows[0]["state"] == "dead"
        s.pbsmap("unmap", path)
    assert wait_until(lambda: path not in mounts_below(s.directory))
    assert s.list() == []


def test_an_existing_file_with_content_is_not_hidden(s, image):
    with open(s.path("image"), "w", encoding="utf-8") as out:
        out.write("precious")
    s.pbsmap("map", "--via", "file", *image.arguments(), s.path("image"), check=False)
    s.pbsmap("unmap", "--all", "--force")
    with open(s.path("image"), encoding="utf-8") as text:
        assert text.read() == "precious"


def test_many_readers_at_once(s, image, path):
    expected = contents_of(path)
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        with open_fd(path) as fd:
            for _ in range(60):
                off, length = chance.randrange(image.size), chance.randrange(1, 300000)
                if os.pread(fd, length, off) != expected[off:off + length]:
                    wrong.append((seed, off, length))

    readers = [threading.Thread(target=read, args=[seed]) for seed in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong


# -- an ordinary user ------------------------------------------------------------------------------

@pytest.fixture
def user(s, root):
    """The Session as nobody: its own directory, its own copy of the program, /dev/fuse open to all."""
    if not shutil.which("fusermount3"):
        pytest.skip("no fusermount3")
    if not os.path.exists("/etc/mtab"):
        pytest.skip("no /etc/mtab, where fusermount3 looks before it unmounts")
    mode = os.stat("/dev/fuse").st_mode
    os.chmod("/dev/fuse", 0o666)
    shutil.copy(PBSMAP, s.path("pbsmap"))
    for top, folders, names in os.walk(s.directory):
        for name in [".", *folders, *names]:
            os.chown(os.path.join(top, name), NOBODY, NOBODY)

    def run(*arguments, **more):
        return s.run("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all",
                     s.path("pbsmap"), *arguments, **more)
    yield run
    run("unmap", "--all", "--force", check=False)
    os.chmod("/dev/fuse", mode & 0o7777)


def test_an_ordinary_user_maps_to_a_file(s, user, image):
    path = s.path("image")
    assert user("map", "--via", "file", *image.arguments(), path).out == path + "\n"
    # Not even root sees what a user mounted, unless the user allows it.
    summed = s.run("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "sha256sum", path)
    assert summed.out.split()[0] == image.sha256
    rows = user("list", "--json").json
    assert [row["device"] for row in rows] == [path]
    user("unmap", path)
    assert user("list", "--json").json == []
    assert not s.servers()


def test_an_ordinary_user_is_told_what_a_device_needs(s, user, image):
    result = user("map", *image.arguments(), check=False)
    assert result.status not in (0, 2)
    assert result.out == ""
    assert "root" in result.err and "--via file" in result.err
