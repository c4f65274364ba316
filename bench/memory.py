# SPDX-License-Identifier: Apache-2.0
"""Anonymous memory of the server at its highest, while an image goes through it."""
import contextlib
import os
import threading

from common import CHUNK, GIB, KIB, MIB, against, anonymous_memory

SIZE = GIB
SMALL_SIZE, SMALL_CHUNK = 256 * MIB, 4 * KIB  # the shortest chunks there are
SAMPLE_SECONDS = 0.005


@contextlib.contextmanager
def sampled(pid, ret):
    """Looks again and again, from a thread of its own, until the `with` ends."""
    end = threading.Event()

    def look():
        while not end.wait(SAMPLE_SECONDS):
            ret.append(anonymous_memory(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def highest_while(bench, snapshot, cache, size):
    samples = []
    with bench.mapped(snapshot, "--cache", cache) as mapping, sampled(mapping.pid(), samples):
        bench.read_all(mapping.device, size)
    return max(samples)


def measure_cache(bench, name, snapshot, cache, size, chunk):
    limit = cache + 32 * MIB + 2 * chunk * os.cpu_count()
    pair = (highest_while(bench, snapshot, cache, size) / MIB, limit / MIB)
    return against(name, [pair], "MiB", highest=1.0)


def measure(bench):
    snapshot = bench.image("vm/compressible", "--synthetic", f"{SIZE}:compressible")
    for cache in (16 * MIB, 256 * MIB):
        yield measure_cache(bench, f"memory, cache {cache // MIB} MiB", snapshot, cache, SIZE, CHUNK)
    snapshot = bench.image("vm/small", "--chunk-size", SMALL_CHUNK, "--synthetic", f"{SMALL_SIZE}:random")
    yield measure_cache(bench, "memory, cache 128 MiB, chunks of 4 KiB", snapshot, 128 * MIB, SMALL_SIZE, SMALL_CHUNK)
