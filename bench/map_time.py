# SPDX-License-Identifier: Apache-2.0
"""From the start of the command until the device answers, program start and exit included."""
import statistics
import time

from common import GIB, ROUNDS, TIB, DirectReader, at_most


def seconds_to_map(bench, snapshot, size):
    begin = time.perf_counter()
    mapping = bench.map(snapshot)
    seconds = time.perf_counter() - begin
    with DirectReader(mapping.device, 4096) as reader:
        reader.read(size - 4096)
    bench.pbsmap("unmap", mapping.device)
    return seconds


def measure(bench):
    for name, size, target_ms in (("32 GiB", 32 * GIB, 50), ("16 TiB", 16 * TIB, 300)):
        snapshot = bench.image(f"vm/{name.replace(' ', '')}", "--index-only", size)
        seconds_to_map(bench, snapshot, size)  # program and index into the page cache
        seconds = [seconds_to_map(bench, snapshot, size) for _ in range(ROUNDS)]
        yield at_most(f"map {name}", statistics.median(seconds) * 1e3, "ms", target_ms)
