# SPDX-License-Identifier: Apache-2.0
"""A hundred mappings at once: all answer with the right bytes, and none of them takes much memory."""
import time

from common import KIB, MIB, DirectReader, anonymous_memory, at_least, at_most

N = 100
SIZE = 64 * MIB
OFFSETS = (0, 33 * MIB, SIZE - 4 * KIB)
SETTLE_SECONDS = 2


def content(device):
    with DirectReader(device, 4 * KIB) as reader:
        return [reader.read(off)[1] for off in OFFSETS]


def measure(bench):
    snapshot = bench.image("vm/small", "--synthetic", f"{SIZE}:compressible")
    with bench.memfile(f"{SIZE}:compressible") as memfile:
        expected = content(memfile)
    try:
        devices = {bench.map(snapshot).device for _ in range(N)}
        answering = sum(content(device) == expected for device in devices)
        time.sleep(SETTLE_SECONDS)
        pids = [row["pid"] for row in bench.list()]
        memory = max(anonymous_memory(pid) for pid in pids)
    finally:
        bench.unmap_all()
    yield at_least(f"{N} mappings: answering", answering, "", N)
    yield at_most(f"{N} mappings: memory of the largest", memory / MIB, "MiB", 12)
