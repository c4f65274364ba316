# SPDX-License-Identifier: Apache-2.0
"""Random 4 KiB reads when all of the image is in the memory cache: what is left is the road."""
from common import MIB, ROUNDS, BenchError, against

SIZE = 192 * MIB  # fits the default cache with room to spare


def iops(bench, device, depth):
    engine = "psync" if depth == 1 else None
    return bench.fio(device, "--rw=randread", "--bs=4k", f"--iodepth={depth}", f"--size={SIZE}", "--time_based",
                     "--runtime=1", engine=engine)["iops"]


def measure_depth(bench, mapped, memfile, plain, depth):
    to_memfile, to_plain = [], []
    for _ in range(ROUNDS):
        value = iops(bench, mapped, depth)
        to_memfile.append((value, iops(bench, memfile, depth)))
        to_plain.append((value, iops(bench, plain, depth)))
    yield against(f"random 4 KiB hot, depth {depth}", to_memfile, "IOPS", lowest=0.90)
    yield against(f"… beside a plain loop, depth {depth}", to_plain, "IOPS")


def measure(bench):
    snapshot = bench.image("vm/hot", "--synthetic", f"{SIZE}:compressible")
    content = f"{SIZE}:compressible"
    with bench.memfile(content) as memfile, bench.memfile("--plain", content) as plain, \
            bench.mapped(snapshot) as mapping:
        for _ in range(2):
            bench.read_all(mapping.device, SIZE)
        fetched = mapping.row()["fetched_chunks"]
        for depth in (1, 32):
            yield from measure_depth(bench, mapping.device, memfile, plain, depth)
        if mapping.row()["fetched_chunks"] != fetched:
            raise BenchError("an image that fits the cache was fetched again: not a hot one")
