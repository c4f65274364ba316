# SPDX-License-Identifier: Apache-2.0
"""Anonymous memory of the server at its highest, while an image goes through it."""
import contextlib
import os
import threading

from common import CHUNK, GIB, MIB, against, anonymous_memory

SIZE = GIB
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


def highest(bench, snapshot, cache):
    samples = []
    with bench.mapped(snapshot, "--cache", cache) as mapping, sampled(mapping.pid(), samples):
        bench.read_all(mapping.device, SIZE)
    return max(samples)


def measure(bench):
    snapshot = bench.image("vm/compressible", "--synthetic", f"{SIZE}:compressible")
    for cache in (16 * MIB, 256 * MIB):
        limit = cache + 32 * MIB + 2 * CHUNK * os.cpu_count()
        pair = (highest(bench, snapshot, cache) / MIB, limit / MIB)
        yield against(f"memory, cache {cache // MIB} MiB", [pair], "MiB", highest=1.0)
