# SPDX-License-Identifier: Apache-2.0
"""Reading a whole mapped image once, from the beginning, with nothing cached but the store's files.

Every byte has to be decoded and has to travel, so the limit is both added up: a bare loop that decodes the
same chunks, and the same bytes served from memory by the same road.  Like both, the mapping has touched its memory before:
the first half of the image is read for that, the second half is measured.
"""
from common import GIB, ROUNDS, against, read_buffered

SIZE = GIB


def added_up(decode, transport):
    return 1 / (1 / decode + 1 / transport)


def measure_kind(bench, kind):
    snapshot = bench.image(f"vm/{kind}-2", "--synthetic", f"{2 * SIZE}:{kind}")
    direct, buffered = [], []
    with bench.memfile(f"{SIZE}:{kind}") as memfile:
        for _ in range(ROUNDS):
            decode = bench.decode_limit(snapshot)
            limit = added_up(decode, bench.read_all(memfile, SIZE))
            with bench.mapped(snapshot) as mapping:
                bench.read_all(mapping.device, SIZE)
                direct.append((bench.read_all(mapping.device, SIZE, SIZE) / 1e9, limit / 1e9))
            limit = added_up(decode, read_buffered(memfile, SIZE))
            with bench.mapped(snapshot) as mapping:
                bench.read_all(mapping.device, SIZE)
                buffered.append((read_buffered(mapping.device, SIZE, SIZE) / 1e9, limit / 1e9))
    yield against(f"sequential cold, {kind}, direct", direct, "GB/s", lowest=0.90)
    yield against(f"sequential cold, {kind}, buffered", buffered, "GB/s")


def measure(bench):
    yield from measure_kind(bench, "compressible")
    yield from measure_kind(bench, "random")
