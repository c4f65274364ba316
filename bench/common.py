# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: data, mappings, limits, and that nothing of them is left.

Machines are noisy and shared. So every ratio is taken against a limit that was measured right beside it,
again and again in turn, and the median counts.
"""
import contextlib
import dataclasses
import fcntl
import json
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
CHUNK = 4 * MIB
BLKFLSBUF = 0x1261  # linux/fs.h
LIMIT_SECONDS = 120  # of one command: more is a hang
TIME = "2026-01-02T03:04:05Z"
ROUNDS = 5


class BenchError(Exception):
    """One line for whoever started the benchmark."""


@dataclasses.dataclass
class Row:
    """One line of the table, one object in bench.json; None = there is no such number here."""
    name: str
    value: float
    unit: str
    limit: float = None
    ratio: float = None
    target: float = None
    met: bool = None


def at_least(name, value, unit, target):
    return Row(name, value, unit, target=target, met=value >= target)


def at_most(name, value, unit, target):
    return Row(name, value, unit, target=target, met=value <= target)


def against(name, pairs, unit, lowest=None, highest=None):
    """A ratio to a limit: @pairs are (value, limit), each measured side by side."""
    ratio = statistics.median(value / limit for value, limit in pairs)
    value, limit = (statistics.median(column) for column in zip(*pairs))
    met = None
    if lowest is not None:
        met = ratio >= lowest
    if highest is not None:
        met = ratio <= highest
    return Row(name, value, unit, limit, ratio, highest if lowest is None else lowest, met)


def find_program(build):
    for place in ("src/pbsmap", "src/cli/pbsmap"):
        path = os.path.join(build, place)
        if os.path.isfile(path):
            return path
    raise BenchError(f"{build} holds no pbsmap: build it first (make)")


class Mapping:
    """A mapped image; its numbers come from `pbsmap list`."""

    def __init__(self, bench, device):
        self.bench = bench
        self.device = device

    def row(self):
        return next(row for row in self.bench.list() if row["device"] == self.device)

    def pid(self):
        return self.row()["pid"]


def touch_memory():
    """A virtual machine's memory costs ten times as much where its host never gave it any: not to be measured."""
    with open("/proc/meminfo", encoding="ascii") as rows:
        known = dict(row.split(":") for row in rows)
    available = int(known["MemAvailable"].split()[0]) * KIB
    with mmap.mmap(-1, min(available // 2, 4 * GIB) // MIB * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for off in range(0, len(memory), 4 * KIB):
            memory[off] = 1


class Bench:
    """Data, tools and everything that must be taken away at the end, in one `with`."""

    def __init__(self, build):
        self.build = build
        self.program = find_program(build)
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        base = os.environ.get("TMPDIR") or "/var/tmp"
        self.directory = tempfile.mkdtemp(prefix="pbsmap-bench-", dir=base)
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o755)  # the server reads the store as its owner
        self.store = self.repository = os.path.join(self.directory, "store")
        # Mappings of its own: those of the machine are neither seen nor touched.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("PBS_", "PBSMAP_"))}
        self.env.update(PBSMAP_RUN_DIR=os.path.join(self.directory, "run"), LC_ALL="C.UTF-8")
        self.stack.callback(self.unmap_all)
        self.engine = self.find_engine()
        touch_memory()
        return self

    def __exit__(self, *why):
        return self.stack.__exit__(*why)

    def run(self, *command):
        command = [str(word) for word in command]
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def pbsmap(self, *words):
        return self.run(self.program, *words)

    def list(self):
        return json.loads(self.pbsmap("list", "--json"))

    def unmap_all(self):
        with contextlib.suppress(BenchError, subprocess.TimeoutExpired):
            self.pbsmap("unmap", "--all", "--force")

    # Data

    def image(self, group, *how):
        """A snapshot with one image, disk.img, made by mkstore's @how; returns its name."""
        snapshot = f"{group}/{TIME}"
        path = os.path.join(self.store, snapshot)
        if not os.path.exists(path):
            self.run(os.path.join(self.build, "tests/tools/mkstore"), "--lazy", *how, self.store, snapshot,
                     "disk.img")
            self.run("sync", "-f", self.store)  # writing back must not disturb what is measured
        return snapshot

    def index_of(self, snapshot):
        return os.path.join(self.store, snapshot, "disk.img.fidx")

    # Devices

    def map(self, snapshot, *options):
        return Mapping(self, self.pbsmap("map", "--repository", self.repository, *options, snapshot, "disk.img").strip())

    @contextlib.contextmanager
    def mapped(self, snapshot, *options):
        mapping = self.map(snapshot, *options)
        try:
            yield mapping
        finally:
            self.pbsmap("unmap", "--force", mapping.device)

    @contextlib.contextmanager
    def memfile(self, *words):
        """A device over memory, which ends with the pipe: also when this program is killed."""
        program = os.path.join(self.build, "bench/memfile")
        with subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            device = child.stdout.readline().strip()
            if not device:
                raise BenchError(f"memfile {' '.join(words)} failed")
            yield device
            child.stdin.close()
            child.wait(LIMIT_SECONDS)

    # Measuring

    def find_engine(self):
        if not shutil.which("fio"):
            raise BenchError("fio is missing: apt install fio")
        for engine in ("io_uring", "libaio"):
            with contextlib.suppress(BenchError):
                self.fio("/dev/zero", "--rw=read", "--bs=4k", "--size=4k", engine=engine, direct=0)
                return engine
        raise BenchError("neither io_uring nor libaio works here")

    def fio(self, device, *words, engine=None, direct=1):
        out = self.run("fio", "--name=bench", f"--filename={device}", "--readonly", f"--direct={direct}",
                       f"--ioengine={engine or self.engine}", "--output-format=json", *words)
        job = json.loads(out[out.index("{"):])["jobs"][0]
        if job["error"]:
            raise BenchError(f"fio on {device}: error {job['error']}")
        return job["read"]

    def read_all(self, device, size, off=0):
        """Bytes a second, from the first to the last, large direct reads."""
        return self.fio(device, "--rw=read", "--bs=1M", "--iodepth=8", f"--offset={off}", f"--size={size}")["bw_bytes"]

    def decode_limit(self, snapshot):
        """Bytes a second of a bare loop that decodes and verifies the chunks of an image."""
        return float(self.run(os.path.join(self.build, "bench/limit_decode"), self.index_of(snapshot),
                              os.path.join(self.store, ".chunks")))

    def fetch_limit(self, snapshot, n):
        """Seconds to read and decode one chunk, median of @n all over the image."""
        return float(self.run(os.path.join(self.build, "bench/limit_decode"), "--fetch", self.index_of(snapshot),
                              os.path.join(self.store, ".chunks"), n))


@contextlib.contextmanager
def opened(path, flags=0):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        yield fd
    finally:
        os.close(fd)


def read_buffered(device, size, off=0):
    """Bytes a second through the device's own page cache, empty at the start."""
    block = bytearray(MIB)
    with opened(device) as fd:
        fcntl.ioctl(fd, BLKFLSBUF)
        os.lseek(fd, off, os.SEEK_SET)
        begin = time.perf_counter()
        have = 0
        while have < size:
            n = os.readv(fd, [block])
            if not n:
                raise BenchError(f"{device} ends at {have}, not at {size}")
            have += n
        seconds = time.perf_counter() - begin
        fcntl.ioctl(fd, BLKFLSBUF)
    return size / seconds


class DirectReader:
    """Small reads past the page cache, with the time of each."""

    def __init__(self, device, length):
        self.fd = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self.page = mmap.mmap(-1, length)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        os.close(self.fd)
        self.page.close()

    def read(self, off):
        """(seconds, bytes)"""
        begin = time.perf_counter()
        n = os.preadv(self.fd, [self.page], off)
        seconds = time.perf_counter() - begin
        if n != len(self.page):
            raise BenchError(f"short read at {off}")
        return seconds, self.page[:]


def anonymous_memory(pid):
    """RssAnon of a process in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * KIB
    raise BenchError(f"process {pid} is gone")
