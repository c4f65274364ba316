# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: running the program, reading devices, cleaning up after both.

Every command goes through Session.run(): it has a time limit, and it is written down in repro.sh, so that
whatever a test did can be done again by hand.
"""
import contextlib
import glob
import hashlib
import json
import mmap
import os
import pty
import select
import shlex
import signal
import subprocess
import time
import uuid

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PBSMAP_BUILD") or os.path.join(TOP, "build", "gcc")
PBSMAP = os.environ.get("PBSMAP") or os.path.join(BUILD, "src", "pbsmap")
IS_SANITIZED = os.path.basename(BUILD) in ("asan", "tsan")
MKSTORE = os.environ.get("PBSMAP_MKSTORE") or os.path.join(BUILD, "tests", "tools", "mkstore")

DONE, FAILED, USAGE, NOT_FOUND, REFUSED, BUSY, DAMAGED = range(7)
MIB = 1 << 20
CHUNK = 4 * MIB

# Nothing of the caller's shell may decide how a test ends.
PRIVATE = ("PBS_", "PBSMAP_", "PROXMOX_", "XDG_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET")


def wait_until(question, seconds=20):
    """The answer, as soon as it is true; whoever asks says what to do when it never is."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.02)


class Result:
    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.status}\n-- stdout\n{self.out}-- stderr\n{self.err}"


class Session:
    """One test's world: a directory, a run directory, an environment, and what it started.

    With @server every datastore directory that a command names is read through it.
    """

    def __init__(self, directory, repro, server=None):
        self.directory = directory
        self.server = server
        self.mark = uuid.uuid4().hex
        self.run_dir = os.path.join(directory, "run")
        self.repro = repro
        self.children = []
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
        self.env.update(HOME=os.path.join(directory, "home"), LC_ALL="C.UTF-8",
                        PBSMAP_RUN_DIR=self.run_dir, PBSMAP_TEST_MARK=self.mark)
        self.env.update(server.env() if server else {})
        os.mkdir(self.env["HOME"])
        with open(repro, "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\n# What this test ran, in order; what ran in the background ends with &.\n"
                         f"export PBSMAP_RUN_DIR={shlex.quote(self.run_dir)}\nset -x\n")
        os.chmod(repro, 0o755)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def repository(self, word):
        """How the program is told to find a datastore directory; other words stay as they are."""
        is_store = self.server and os.path.isdir(os.path.join(word, ".chunks"))
        return self.server.repository_of(word) if is_store else word

    def words(self, command):
        words = [str(word) for word in command]
        return [self.repository(word) if before == "--repository" else word
                for before, word in zip(["", *words], words)]

    def note(self, command, env=None, more=""):
        words = [f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()]
        with open(self.repro, "a", encoding="utf-8", errors="surrogateescape") as script:
            script.write(" ".join([*words, shlex.join(command)]) + more + "\n")

    def run(self, *command, env=None, timeout=60, check=True, stdin=subprocess.DEVNULL, **more):
        """A command to its end; with @check a status that is not 0 is the test's failure."""
        command = self.words(command)
        self.note(command, env)
        # Ends when all who hold the pipes have closed them: a background process that keeps one hangs here.
        done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=timeout, check=False,
                              env={**self.env, **(env or {})}, **more)
        result = Result(done.returncode, done.stdout.decode(errors="surrogateescape"),
                        done.stderr.decode(errors="surrogateescape"))
        assert not check or result.status == 0, f"{shlex.join(command)}: {result!r}"
        return result

    def start(self, *command, env=None, **more):
        """A command that goes on; clean_up() ends it at the latest."""
        command = self.words(command)
        self.note(command, env, " &")
        child = subprocess.Popen(command, env={**self.env, **(env or {})}, **{"stdin": subprocess.DEVNULL, **more})
        self.children.append(child)
        return child

    def pbsmap(self, *arguments, **more):
        return self.run(PBSMAP, *arguments, **more)

    def traced(self, options, *arguments, **more):
        """The program under strace, which writes to "calls"; leaks cannot be looked for there."""
        return self.run("strace", "-q", "-o", self.path("calls"), *options, PBSMAP, *arguments,
                        env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}, **more)

    def fails(self, status, *arguments, **more):
        """The program refuses, with exactly this status, in one line, and nothing on stdout."""
        result = self.pbsmap(*arguments, check=False, **more)
        assert result.status == status, result
        assert "--json" in arguments or result.out == "", result
        assert result.err.strip(), result
        return result

    def map(self, *arguments, **more):
        """The device (or path) that `map` printed, as the only thing on stdout."""
        result = self.pbsmap("map", *arguments, **more)
        assert result.out.endswith("\n") and result.out.count("\n") == 1, result
        return result.out[:-1]

    def list(self):
        return self.pbsmap("list", "--json").json

    def mapping(self, device):
        """What `list` says about one device."""
        found = [row for row in self.list() if row["device"] == device]
        assert len(found) == 1, f"{device} in {found}"
        return found[0]

    def mkstore(self, store, snapshot, *arguments, **more):
        return self.run(MKSTORE, "--lazy", *arguments[:-1], store, snapshot, arguments[-1], **more)

    def mount(self, device, options="ro", fs="ext4"):
        target = self.path(f"mnt-{os.path.basename(device)}")
        os.makedirs(target, exist_ok=True)
        self.run("mount", "-t", fs, "-o", options, device, target)
        return target

    def umount(self, target):
        self.run("umount", target)

    def servers(self):
        """Processes this test is to answer for: they carry its mark in their environment."""
        mark = f"PBSMAP_TEST_MARK={self.mark}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if mark in environ.read().split(b"\0") and int(pid) != os.getpid():
                        found.append(int(pid))
        return found

    def kill(self, pid, number=signal.SIGKILL):
        self.note(["kill", f"-{int(number)}", str(pid)])
        os.kill(pid, number)

    def clean_up(self):
        """Takes away all this test left; returns what did not go by itself, in words."""
        left = []
        for child in self.children:
            child.kill()
            child.wait()
        for target in reversed(mounts_below(self.directory)):
            # A dead FUSE mount, or a file system a failed test has still mounted.
            subprocess.run(["umount", "--lazy", target], check=False, timeout=60, stderr=subprocess.DEVNULL)
        # Every mapping that can be found has a socket there.
        if glob.glob(os.path.join(self.run_dir, "*.sock")) and os.path.exists(PBSMAP):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.pbsmap("unmap", "--all", "--force", check=False, timeout=60)
        gone = wait_until(lambda: not self.servers())
        if not gone:
            left.append(f"processes {self.servers()}")
            for pid in self.servers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return left


def mounts_below(directory):
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        targets = [row.split()[4] for row in rows]
    return [target for target in targets if target.startswith(directory + "/")]


@contextlib.contextmanager
def open_fd(path, flags=os.O_RDONLY):
    """A descriptor that is closed at the end of `with`."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def size_of(path):
    with open_fd(path) as fd:
        return os.lseek(fd, 0, os.SEEK_END)


def read_direct(path, off, length):
    """Past the page cache; offset and length are sectors."""
    with open_fd(path, os.O_DIRECT) as fd, mmap.mmap(-1, length) as page:
        have = os.preadv(fd, [page], off)
        return page[:have]


def pieces_of(path, size):
    with open_fd(path) as fd:
        off = 0
        while off < size:
            piece = os.pread(fd, min(MIB, size - off), off)
            assert piece, f"{path} ends at {off}"
            yield piece
            off += len(piece)


def sha256_of(path, size=None):
    """Of exactly the first @size bytes; by default of all."""
    digest = hashlib.sha256()
    for piece in pieces_of(path, size_of(path) if size is None else size):
        digest.update(piece)
    return digest.hexdigest()


def contents_of(path, size=None):
    return b"".join(pieces_of(path, size_of(path) if size is None else size))


def number_of(device):
    return int(device.removeprefix("/dev/loop"))


def is_attached(device):
    return os.path.exists(f"/sys/block/{os.path.basename(device)}/loop/backing_file")


def with_terminal(command, env, answers, timeout=60):
    """
    Runs a command that talks to its terminal; @answers are (what it asks, what is typed).

    Returns its exit status, its stdout, which is no terminal, and all the terminal showed.
    """
    reader, writer = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.closerange(3, 256)
        os.execve(command[0], command, env)
    os.close(writer)
    shown, out, answers = "", b"", list(answers)
    end = time.monotonic() + timeout
    open_fds = {terminal, reader}
    try:
        while open_fds:
            assert time.monotonic() < end, f"no end; the terminal shows {shown!r}"
            for fd in select.select(list(open_fds), [], [], 0.2)[0]:
                try:
                    piece = os.read(fd, 4096)
                except OSError:  # EIO: nobody has the terminal open any more
                    piece = b""
                if not piece:
                    open_fds.remove(fd)
                elif fd == reader:
                    out += piece
                else:
                    shown += piece.decode(errors="replace")
            if answers and answers[0][0] in shown:
                os.write(terminal, answers.pop(0)[1].encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = 0
        return status, out.decode(), shown
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
        os.close(reader)
