# SPDX-License-Identifier: Apache-2.0
"""An image on a test server: what is in it, how it is mapped, and readers that may have to wait."""
import contextlib
import os
import random
import threading
import time

from harness import read_direct, wait_until
from pbsd import Pbsd
from test_damage import digests

SNAPSHOT = "vm/100/2026-01-02T03:04:05Z"
ARCHIVE = "disk.img"
CHUNK = 64 << 10  # small: one is one read, and a test has many
LATE = 8  # seconds an error may come after its time on a busy machine; a reader that hangs is later


class Disk:
    """A store with one snapshot of one image, made of random bytes: each chunk is as long stored as read."""

    def __init__(self, s, name="store", n_chunks=64, seed=1):
        self.s = s
        self.store = s.path(name)
        self.data = random.Random(seed).randbytes(n_chunks * CHUNK)
        raw = s.path(f"{name}.raw")
        with open(raw, "wb") as out:
            out.write(self.data)
        s.mkstore(self.store, SNAPSHOT, "--plain", f"--chunk-size={CHUNK}", f"{ARCHIVE}={raw}")

    def chunk(self, n):
        return self.data[n * CHUNK:(n + 1) * CHUNK]

    def digest(self, n):
        return digests(self.store, SNAPSHOT, ARCHIVE)[n]

    def path_of(self, n):
        """What the request for a chunk has in its path."""
        return f"chunk.digest={self.digest(n)}"

    @contextlib.contextmanager
    def served(self, *options, **more):
        with Pbsd({"store": self.store}, "--auth-delay=0", *options, **more) as server:
            yield server


def map_at(s, server, *options, env=None, repository=None, prefix=()):
    """The path of the image of a server; only what is read is fetched."""
    command = ["--repository", repository or server.repository("store"), "--read-ahead", "0", "--via", "file",
               *options, SNAPSHOT, ARCHIVE, s.path("image")]
    env = {**server.env(), **(env or {})}
    if prefix:
        return s.run(*prefix, *command, env=env).out.rstrip("\n")
    return s.map(*command, env=env)


def map_device(s, server, *options):
    return s.map("--repository", server.repository("store"), "--read-ahead", "0", *options, SNAPSHOT, ARCHIVE,
                 env=server.env())


class Read:
    """
    One read of one chunk that goes on by itself: what it brought, or the number of its error, and when.

    Past the page cache: there the kernel reads ahead, and asks once more for what could not be read.
    """

    def __init__(self, path, n):
        self.path, self.n = path, n
        self.data = self.errno = self.seconds = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        start = time.monotonic()
        try:
            self.data = read_direct(self.path, self.n * CHUNK, CHUNK)
        except OSError as why:
            self.errno = why.errno
        self.seconds = time.monotonic() - start

    @property
    def is_over(self):
        return not self.thread.is_alive()

    def end(self, seconds=60):
        self.thread.join(seconds)
        assert self.is_over, f"the read of chunk {self.n} hangs"
        return self

    def brings(self, disk, seconds=60):
        """The right bytes."""
        self.end(seconds)
        assert self.errno is None, f"chunk {self.n}: {os.strerror(self.errno)} after {self.seconds:.2f} s"
        assert self.data == disk.chunk(self.n), f"chunk {self.n} has other bytes"
        return self

    def fails_at(self, timeout):
        """EIO, not before its time and not long after."""
        self.end(timeout + LATE)
        assert self.errno == 5, f"chunk {self.n}: {self.errno} after {self.seconds:.2f} s"
        assert timeout <= self.seconds < timeout + LATE, f"chunk {self.n} failed after {self.seconds:.2f} s"
        return self


def lost(s, path):
    """What `list` says of a server that is being looked for; None while it is there."""
    row = s.mapping(path)
    assert (row["state"] == "reconnecting") == bool(row["lost"]), row
    return row["lost"]


def is_lost(s, path):
    found = wait_until(lambda: lost(s, path))
    assert found, s.mapping(path)
    return found


def is_found(s, path):
    assert wait_until(lambda: not lost(s, path)), s.mapping(path)
