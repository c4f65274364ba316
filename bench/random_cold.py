# SPDX-License-Identifier: Apache-2.0
"""Random 4 KiB reads where nothing is cached: each has to wait for one chunk, and for no other.

The cache is small and was filled before, so that memory is used again as in the bare loop of the limit: what a
machine needs to hand out a page for the first time differs widely between virtual ones, and is measured by nobody here.
"""
import random
import statistics

from common import CHUNK, GIB, KIB, MIB, ROUNDS, DirectReader, against, at_most

SIZE = GIB
SMALL = 64 * MIB
N_READS = 48
CACHE = "32M"
N_BEFORE = 24 # chunks; three times what the cache holds


def one_read_each(mapping, seed):
    """
    Median seconds of reads in different chunks, in an order nobody can guess, and how many chunks were fetched
    beside those.
    """
    order = random.Random(seed)
    chunks = order.sample(range(SIZE // CHUNK), N_BEFORE + N_READS)
    with DirectReader(mapping.device, 4 * KIB) as reader:
        def seconds(n):
            return reader.read(n * CHUNK + order.randrange(CHUNK // 4096) * 4096)[0]

        for n in chunks[:N_BEFORE]:
            seconds(n)
        before = mapping.row()["fetched_chunks"]
        median = statistics.median(seconds(n) for n in chunks[N_BEFORE:])
        return median, mapping.row()["fetched_chunks"] - before - N_READS


def measure_time(bench):
    snapshot = bench.image("vm/compressible", "--synthetic", f"{SIZE}:compressible")
    pairs, again = [], 0
    for seed in range(ROUNDS):
        limit = bench.fetch_limit(snapshot, N_READS)
        with bench.mapped(snapshot, "--cache", CACHE) as mapping:
            seconds, more = one_read_each(mapping, seed)
            pairs.append((seconds * 1e3, limit * 1e3))
            again = max(again, more)
    yield against("random 4 KiB cold", pairs, "ms", highest=1.15)
    yield at_most("… chunks fetched that nobody asked for", again, "chunks", 0)


def measure_many(bench):
    """Many readers of few chunks at once: whoever comes second waits for the first."""
    snapshot = bench.image("vm/small", "--synthetic", f"{SMALL}:compressible")
    worst = 0
    for _ in range(ROUNDS):
        with bench.mapped(snapshot) as mapping:
            bench.fio(mapping.device, "--rw=randread", "--bs=4k", "--iodepth=32", f"--size={SMALL}",
                      "--io_size=32M", "--norandommap")
            worst = max(worst, mapping.row()["fetched_chunks"] - SMALL // CHUNK)
    yield at_most("random 4 KiB cold, depth 32: chunks fetched twice", worst, "chunks", 0)


def measure(bench):
    yield from measure_time(bench)
    yield from measure_many(bench)
