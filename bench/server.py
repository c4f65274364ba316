# SPDX-License-Identifier: Apache-2.0
"""A backup server as the source: the test server on loopback, at once and with a round trip of 20 ms.

The server is a Python program on the same two processors, so what is left for the program is the limit: the
processor time of a bare download of the same chunks, the server's share and the client's, with what decoding and the way
to the reader cost, spread over all processors.
"""
import contextlib
import os
import statistics
import sys
import time

from common import CHUNK, GIB, MIB, ROUNDS, TOP, DirectReader, against, at_most
from memory import highest_while

sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
from pbsd import Pbsd  # pylint: disable=wrong-import-position

SIZE = GIB
DELAY_MS = 10  # one way
CACHE = 64 * MIB


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(bench, delay_ms=0):
    """All mappings of @bench through a test server."""
    before = bench.repository, bench.env
    with Pbsd({"bench": bench.store}, f"--delay={delay_ms}", "--auth-delay=0") as server:
        bench.repository = server.repository("bench")
        bench.env = {**bench.env, **server.env()}
        try:
            yield server
        finally:
            bench.unmap_all()
            bench.repository, bench.env = before


def download_cost(bench, server, snapshot):
    """Processor seconds of one download of all chunks, the server's and the client's."""
    before = processor_seconds(server.pid)
    out = bench.run(os.path.join(bench.build, "bench/limit_download"), bench.repository, snapshot, "disk.img.fidx")
    return processor_seconds(server.pid) - before + float(out.split()[1])


def rate(bench, snapshot):
    """Bytes a second of the second half of an image; the first half has touched the memory."""
    with bench.mapped(snapshot) as mapping:
        bench.read_all(mapping.device, SIZE)
        return bench.read_all(mapping.device, SIZE, SIZE)


def measure_sequential(bench):
    snapshot = bench.image("vm/compressible-2", "--synthetic", f"{2 * SIZE}:compressible")
    near, far = [], []
    with bench.memfile(f"{SIZE}:compressible") as memfile, served(bench) as here:
        for _ in range(ROUNDS):
            cost = download_cost(bench, here, snapshot) / (2 * SIZE)
            seconds = cost / os.cpu_count() + 1 / bench.decode_limit(snapshot) + 1 / bench.read_all(memfile, SIZE)
            near.append((rate(bench, snapshot) / 1e9, 1 / seconds / 1e9))
            here.control("set", delay=DELAY_MS)
            far.append((rate(bench, snapshot) / 1e9, near[-1][0]))
            here.control("set", delay=0)
    yield against("server, sequential", near, "GB/s", lowest=0.8)
    yield against("server, sequential, round trip 20 ms beside none", far, "GB/s", lowest=0.8)


def first_byte(bench, snapshot):
    """Seconds from the start of the command to the first byte of the image."""
    begin = time.perf_counter()
    with bench.mapped(snapshot) as mapping, DirectReader(mapping.device, 4096) as reader:
        reader.read(0)
        return time.perf_counter() - begin


def measure_start(bench):
    """With a password: log-in and session are two connections, so TLS is waited for twice: two round trips."""
    snapshot = bench.image("vm/compressible-2", "--synthetic", f"{2 * SIZE}:compressible")
    trip = 2 * DELAY_MS
    for delay, name, target in ((0, "", 60), (DELAY_MS, ", round trip 20 ms", 2 * trip + 3 * trip + 100)):
        with served(bench, delay):
            first_byte(bench, snapshot)
            seconds = statistics.median(first_byte(bench, snapshot) for _ in range(ROUNDS))
        yield at_most(f"server, map to the first byte{name}", seconds * 1e3, "ms", target)


def resume(bench, server, mapping, n):
    """Seconds from when the server is there again until a read that waited has its bytes."""
    server.control("stop", how="rst")
    time.sleep(1.5)  # long enough for the program to have grown patient
    server.control("start")
    begin = time.perf_counter()
    with DirectReader(mapping.device, 4096) as reader:
        reader.read(n * CHUNK)
    return time.perf_counter() - begin


def measure_resume(bench):
    snapshot = bench.image("vm/compressible-2", "--synthetic", f"{2 * SIZE}:compressible")
    with served(bench) as server, bench.mapped(snapshot, "--read-ahead", "0") as mapping:
        seconds = max(resume(bench, server, mapping, n) for n in range(ROUNDS))
    yield at_most("server, reads resume after a restart", seconds, "s", 2)


def measure_memory(bench):
    snapshot = bench.image("vm/compressible-2", "--synthetic", f"{2 * SIZE}:compressible")
    limit = CACHE + 32 * MIB + 2 * CHUNK * os.cpu_count()
    with served(bench, DELAY_MS):
        value = highest_while(bench, snapshot, CACHE, SIZE)
    yield against("server, memory, cache 64 MiB, round trip 20 ms", [(value / MIB, limit / MIB)], "MiB", highest=1.0)


def measure(bench):
    yield from measure_sequential(bench)
    yield from measure_start(bench)
    yield from measure_resume(bench)
    yield from measure_memory(bench)
