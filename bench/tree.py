# SPDX-License-Identifier: Apache-2.0
"""The files of an archive, mounted: looking at all of them, at a few, and reading a large one.

100,000 files and 4 GiB, as one stream, where entries lie between the data, and split, where they are apart. Each look is at a
mount of its own, with nothing cached but the store's files. A file is read through the page cache, so its limit is what
decoding costs and what a FUSE file over memory costs that is read the same way; the first half has touched the memory.
"""
import contextlib
import os
import sys
import time

from common import CHUNK, GIB, MIB, ROUNDS, TIME, TOP, Mapping, Row, against, at_most, opened
from memory import sampled
from sequential import added_up

sys.path.insert(0, os.path.join(TOP, "tests", "tools"))
from stored import Stream, needed_for_listing  # pylint: disable=wrong-import-position

FILES, SIZE = 100_000, 4 * GIB
LARGE = SIZE // 4
SNAPSHOT = f"host/tree/{TIME}"
DEEP = "d5/d5/d5"
CACHE = 64 * MIB
ENTRIES, DATA = {"one": "one.pxar", "split": "split.mpxar"}, {"one": "one.pxar", "split": "split.ppxar"}


def make(bench):
    if not os.path.exists(os.path.join(bench.store, SNAPSHOT)):
        bench.run(os.path.join(bench.build, "tests/tools/mkstore"), "--lazy", "--synthetic-tree", f"{FILES}:{SIZE}",
                  bench.store, SNAPSHOT, *ENTRIES.values())
        bench.run("sync", "-f", bench.store)  # writing back must not disturb what is measured


@contextlib.contextmanager
def mounted(bench, name, *options):
    target = os.path.join(bench.directory, "mnt")
    bench.pbsmap("mount", "--repository", bench.repository, *options, SNAPSHOT, f"{name}.pxar", target)
    try:
        yield target
    finally:
        bench.pbsmap("unmap", "--force", target)


def decode_limit(bench, stream, numbers):
    """Bytes a second of a bare loop over some chunks of an index."""
    return float(bench.run(os.path.join(bench.build, "bench/limit_decode"),
                           os.path.join(bench.store, SNAPSHOT, f"{stream}.didx"), os.path.join(bench.store, ".chunks"),
                           ",".join(map(str, numbers))))


def lengths_of(bench, stream):
    ends = Stream(bench.store, f"{SNAPSHOT}/{stream}.didx").ends
    return [end - start for start, end in zip([0] + ends, ends)]


# -- all of them -------------------------------------------------------------------------------


def seconds_of_find(bench, top):
    begin = time.perf_counter()
    out = bench.run("find", top, "-ls")
    seconds = time.perf_counter() - begin
    assert out.count("\n") > FILES
    return seconds


def measure_find(bench, name, highest):
    """Against its chunks with entries: all but those of the data of large files, which no others are as long as."""
    lengths = lengths_of(bench, ENTRIES[name])
    numbers = [n for n, length in enumerate(lengths) if length != CHUNK]
    size = sum(lengths[n] for n in numbers)
    pairs = []
    for _ in range(ROUNDS):
        limit = size / decode_limit(bench, ENTRIES[name], numbers)
        with mounted(bench, name) as top:
            pairs.append((seconds_of_find(bench, top), limit))
            fetched = Mapping(bench, top).row()["fetched_chunks"]
    yield against(f"tree, find -ls cold, {name}", pairs, "s", highest=highest)
    # What is read ahead behind the last entries before a large file's data comes on top.
    yield Row("… chunks fetched, beside those with entries", fetched, "chunks", len(numbers), fetched / len(numbers))


# -- a few of them -----------------------------------------------------------------------------


def measure_deep(bench, name):
    needed = needed_for_listing(bench.store, f"{SNAPSHOT}/{ENTRIES[name]}.didx", DEEP.encode().split(b"/"))
    with mounted(bench, name) as top:
        begin = time.perf_counter()
        bench.run("ls", "-l", os.path.join(top, DEEP))
        seconds = time.perf_counter() - begin
        fetched = Mapping(bench, top).row()["fetched_chunks"]
    yield at_most(f"tree, ls of a deep path, {name}: chunks fetched", fetched, "chunks", len(needed))
    yield Row("… time", seconds * 1e3, "ms")


# -- a large one -------------------------------------------------------------------------------


def read_half(path, size, off):
    """Bytes a second of the @size bytes at @off, through the page cache, which has none of them."""
    block = bytearray(MIB)
    with opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        for pos in range(off, off + size, MIB):
            assert os.preadv(fd, [block], pos) == MIB
        return size / (time.perf_counter() - begin)


def measure_file(bench, memfile, name):
    numbers = [n for n, length in enumerate(lengths_of(bench, DATA[name])) if length == CHUNK][:LARGE // CHUNK]
    pairs = []
    for _ in range(ROUNDS):
        limit = added_up(decode_limit(bench, DATA[name], numbers), read_half(memfile, LARGE // 2, LARGE // 2))
        with mounted(bench, name) as top:
            path = os.path.join(top, "large/one")
            read_half(path, LARGE // 2, 0)
            pairs.append((read_half(path, LARGE // 2, LARGE // 2) / 1e9, limit / 1e9))
    yield against(f"tree, one file of 1 GiB, {name}", pairs, "GB/s", lowest=0.85)


# -- what it takes -----------------------------------------------------------------------------


def measure_memory(bench, name):
    samples = []
    with mounted(bench, name, "--cache", CACHE) as top, sampled(Mapping(bench, top).pid(), samples):
        bench.run("find", top, "-ls")
        read_half(os.path.join(top, "large/one"), LARGE, 0)
    yield against(f"tree, memory, cache 64 MiB, {name}", [(max(samples) / MIB, (CACHE + 48 * MIB) / MIB)], "MiB",
                  highest=1.0)


def measure(bench):
    make(bench)
    # Split, the entries are so few bytes that what find and the kernel do with them takes all of the time.
    yield from measure_find(bench, "one", 2.0)
    yield from measure_find(bench, "split", None)
    with bench.memfile("--file", f"{LARGE}:compressible") as memfile:
        for name in ENTRIES:
            yield from measure_file(bench, memfile, name)
    for name in ENTRIES:
        yield from measure_deep(bench, name)
        yield from measure_memory(bench, name)
