# SPDX-License-Identifier: Apache-2.0
"""NBD over a unix socket, asked by nbdcopy and fio: beside nbdkit, which serves the same bytes from memory.

A cold copy has to decode every byte and to send it, so its limit is both added up, as in sequential.py; with a small
cache, so that memory is used again as in the limit (see random_cold.py). Of hot random reads only the server's own work
is left. A sparse image costs what its data costs.
"""
import contextlib
import json
import os
import shutil
import subprocess
import time

from common import GIB, MIB, ROUNDS, TIME, BenchError, against

SIZE = GIB // 2
HOT = 192 * MIB  # fits the default cache with room to spare
SPARSE, DATA = 64 * GIB, 100 * MIB
CACHE = ["--cache", "64M"]


@contextlib.contextmanager
def served(bench, snapshot, *options):
    """The URI of a mapped image."""
    path = os.path.join(bench.directory, "nbd.sock")
    words = ["--via", "socket", "--repository", bench.store, *options, snapshot, "disk.img", path]
    uri = bench.pbsmap("map", *words).strip()
    try:
        yield uri
    finally:
        bench.pbsmap("unmap", "--force", uri)


@contextlib.contextmanager
def in_memory(bench, uri):
    """The same bytes, served by nbdkit from a file in memory."""
    path, sock = "/dev/shm/pbsmap-bench.raw", os.path.join(bench.directory, "nbdkit.sock")
    try:
        bench.run("nbdcopy", uri, path)
        with subprocess.Popen(["nbdkit", "-f", "-r", "-U", sock, "file", path]) as child:
            until = time.monotonic() + 10
            while not os.path.exists(sock):
                if time.monotonic() > until or child.poll() is not None:
                    raise BenchError("nbdkit does not serve")
                time.sleep(0.01)
            try:
                yield f"nbd+unix:///?socket={sock}"
            finally:
                child.terminate()
    finally:
        for left in (path, sock):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left)


def copy_seconds(bench, uri):
    begin = time.perf_counter()
    bench.run("nbdcopy", uri, "null:")
    return time.perf_counter() - begin


def measure_copy(bench, kind):
    snapshot = bench.image(f"vm/nbd-{kind}", "--synthetic", f"{SIZE}:{kind}")
    pairs = []
    with contextlib.ExitStack() as stack:
        with served(bench, snapshot) as uri:
            memory = stack.enter_context(in_memory(bench, uri))
        for _ in range(ROUNDS):
            limit = 1 / (1 / bench.decode_limit(snapshot) + copy_seconds(bench, memory) / SIZE)
            with served(bench, snapshot, *CACHE) as uri:
                pairs.append((SIZE / copy_seconds(bench, uri) / 1e9, limit / 1e9))
    yield against(f"NBD copy cold, {kind}", pairs, "GB/s", lowest=0.90)


def iops(bench, uri):
    out = bench.run("fio", "--name=bench", "--ioengine=nbd", f"--uri={uri}", "--rw=randread", "--bs=4k", "--iodepth=32",
                    f"--size={HOT}", "--time_based", "--runtime=2", "--output-format=json")
    return json.loads(out[out.index("{"):])["jobs"][0]["read"]["iops"]


def measure_random(bench):
    snapshot = bench.image("vm/nbd-hot", "--synthetic", f"{HOT}:compressible")
    with served(bench, snapshot) as uri, in_memory(bench, uri) as memory:
        copy_seconds(bench, uri)
        pairs = [(iops(bench, uri), iops(bench, memory)) for _ in range(ROUNDS)]
    yield against("NBD random 4 KiB hot, depth 32", pairs, "IOPS", lowest=1.0)


def from_file(bench, group, size, data):
    """A snapshot of a file of @size bytes that begins with @data bytes of noise."""
    snapshot, path = f"{group}/{TIME}", os.path.join(bench.directory, "raw")
    with open(path, "wb") as out:
        for _ in range(data // MIB):
            out.write(os.urandom(MIB))
        out.truncate(size)
    bench.run(os.path.join(bench.build, "tests/tools/mkstore"), "--lazy", bench.store, snapshot, f"disk.img={path}")
    os.unlink(path)
    return snapshot


def measure_sparse(bench):
    sparse = from_file(bench, "vm/nbd-sparse", SPARSE, DATA)
    dense = from_file(bench, "vm/nbd-dense", DATA, DATA)
    pairs = []
    for _ in range(ROUNDS):
        with served(bench, sparse) as uri:
            value = copy_seconds(bench, uri)
        with served(bench, dense) as uri:
            pairs.append((value, copy_seconds(bench, uri)))
    yield against("NBD copy of 64 GiB with 100 MiB of data", pairs, "s", highest=1.25)


def measure(bench):
    for program in ("nbdcopy", "nbdkit"):
        if not shutil.which(program):
            raise BenchError(f"{program} is missing: apt install libnbd-bin nbdkit")
    for kind in ("compressible", "random"):
        yield from measure_copy(bench, kind)
    yield from measure_random(bench)
    yield from measure_sparse(bench)
