# SPDX-License-Identifier: Apache-2.0
"""A hundred mappings at once: all answer with the right bytes, and none of them takes much memory."""
import glob
import time

from common import KIB, MIB, DirectReader, anonymous_memory, at_least, at_most

N = 100
SIZE = 64 * MIB
OFFSETS = (0, 33 * MIB, SIZE - 4 * KIB)
SETTLE_SECONDS = 2


def content(device):
    with DirectReader(device, 4 * KIB) as reader:
        return [reader.read(off)[1] for off in OFFSETS]


def memory_of_mapping(pid):
    """Of the server process and its keeper."""
    children = [int(child) for tasks in glob.glob(f"/proc/{pid}/task/*/children")
                for child in open(tasks, encoding="ascii").read().split()]
    return sum(anonymous_memory(process) for process in [pid, *children])


def measure(bench):
    snapshot = bench.image("vm/small", "--synthetic", f"{SIZE}:compressible")
    with bench.memfile(f"{SIZE}:compressible") as memfile:
        expected = content(memfile)
    try:
        devices = {bench.map(snapshot).device for _ in range(N)}
        time.sleep(SETTLE_SECONDS)
        # Before anybody reads: what is read stays in the cache, as it should.
        memory = max(memory_of_mapping(row["pid"]) for row in bench.list())
        answering = sum(content(device) == expected for device in devices)
    finally:
        bench.unmap_all()
    yield at_least(f"{N} mappings: answering", answering, "", N)
    yield at_most(f"{N} mappings: memory of the largest", memory / MIB, "MiB", 12)
