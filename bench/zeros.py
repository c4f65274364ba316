# SPDX-License-Identifier: Apache-2.0
"""Chunks of zeros: no fetch and no decoding, only the road."""
import statistics

from common import GIB, ROUNDS, at_least, at_most

SIZE = 4 * GIB


def measure(bench):
    snapshot = bench.image("vm/zeros", "--synthetic", f"{SIZE}:zero")
    rates, fetched = [], 0
    for _ in range(ROUNDS):
        with bench.mapped(snapshot) as mapping:
            rates.append(bench.read_all(mapping.device, SIZE) / 1e9)
            fetched = max(fetched, mapping.row()["fetched_chunks"])
    yield at_least("zero chunks", statistics.median(rates), "GB/s", 2.0)
    yield at_most("… fetched", fetched, "chunks", 0)
