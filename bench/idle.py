# SPDX-License-Identifier: Apache-2.0
"""A mapping nobody reads: it sleeps. Wake-ups of all its threads, and its processor time."""
import os
import time

from common import MIB, at_most

SETTLE_SECONDS = 2
SECONDS = 5


def wake_ups(pid):
    """Times a thread gave up the processor by itself: once after each wake-up. By thread."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        found[thread] = int(fields["voluntary_ctxt_switches"])
    return found


def processor_ms(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def measure(bench):
    snapshot = bench.image("vm/small", "--synthetic", f"{64 * MIB}:compressible")
    with bench.mapped(snapshot) as mapping:
        pid = mapping.pid()
        bench.read_all(mapping.device, 64 * MIB)
        time.sleep(SETTLE_SECONDS)
        before, begin_ms = wake_ups(pid), processor_ms(pid)
        time.sleep(SECONDS)
        after, end_ms = wake_ups(pid), processor_ms(pid)
    n = sum(count - before.get(thread, 0) for thread, count in after.items())
    yield at_most(f"idle: wake-ups in {SECONDS} s", n, "", 0)
    yield at_most(f"idle: processor time in {SECONDS} s", end_ms - begin_ms, "ms", 0)
