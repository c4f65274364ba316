# SPDX-License-Identifier: Apache-2.0
"""
No secret reaches the arguments or environment of a process, a log, or the run directory: seen from outside.

strace shows what map, list and unmap, their children and the server process say to the system; what goes to the
backup server is encrypted there.
"""
import contextlib
import os
import re
import socket

import pytest

from golden import SETS
from harness import PBSMAP, wait_until
from pbsd import Pbsd
from remote import Read, is_found, is_lost

PASSWORD, TOKEN_SECRET, KEY_PASSWORD = "pass-of-the-user", "secret-of-the-token", "scrypt-pass-a"
SNAPSHOT, ARCHIVE, KEY = "vm/201/2024-06-02T00:00:00Z", "drive-scsi0.img", "key-scrypt.json"
CALLS = "execve,execveat,write,writev,pwrite64,sendto,sendmsg,sendmmsg,openat,open,symlink,symlinkat,link,linkat," \
        "rename,renameat,renameat2,mkdir,mkdirat,mknod,mknodat,setxattr,fsconfig,prctl,bind,connect"
SYSLOG = "/dev/log"


@pytest.fixture
def log(root):
    """What syslog would get; where there is one already, only strace sees it."""
    if os.path.exists(SYSLOG):
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(SYSLOG)
        os.chmod(SYSLOG, 0o666)
        listener.setblocking(False)
        yield listener
    os.unlink(SYSLOG)


def logged(log):
    lines = []
    with contextlib.suppress(BlockingIOError):
        while True:
            lines.append(log.recv(4096).decode())
    return lines


class Trace:
    """A command under strace, with all its children."""

    def __init__(self, s, name, env, *arguments):
        self.file, self.out = s.path(f"{name}.strace"), s.path(f"{name}.out")
        # A process that is traced cannot be looked through for leaks.
        env = {**env, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        with open(self.out, "wb") as out:
            self.child = s.start("strace", "-f", "-v", "-s", "65535", "-q", "-e", f"trace={CALLS}",
                                 "-o", self.file, PBSMAP, *arguments, env=env, stdout=out, stderr=out)

    def printed(self):
        with open(self.out, encoding="utf-8") as text:
            return text.read()

    def ended(self):
        assert self.child.wait(60) == 0, self.printed()
        return self

    def calls(self):
        """(process, call) of all but the first one, which is the user's own."""
        with open(self.file, encoding="utf-8", errors="replace") as rows:
            calls = [row.rstrip("\n").split(maxsplit=1) for row in rows]
        assert calls[0][1].startswith("execve(")
        return calls[1:]


def helpers_of(calls):
    """Processes that became another program: what a _CMD variable names may write what it is asked for."""
    return {pid for pid, call in calls if call.startswith("execve(")}


def look_for(secrets, calls):
    """That no call has a secret in it; a helper's own output aside."""
    helpers = helpers_of(calls)
    for pid, call in calls:
        is_output = pid in helpers and re.match(r"write\(1,", call)
        for secret in secrets:
            assert is_output or secret not in call, f"{secret} in {call[:2000]}"


def look_at_processes(s, secrets, tracer):
    """Of the server process and its keeper, once the command that started them has left."""
    def pids():
        return set(s.servers()) - {tracer}
    assert wait_until(lambda: len(pids()) == 2), pids()
    for pid in pids():
        for name in ("cmdline", "environ", "comm"):
            with open(f"/proc/{pid}/{name}", "rb") as text:
                found = text.read()
            for secret in secrets:
                assert secret.encode() not in found, f"{secret} in /proc/{pid}/{name}"


def look_into(directory, secrets):
    n_seen = 0
    for top, folders, files in os.walk(directory):
        for name in folders + files:
            path, said = os.path.join(top, name), name
            if os.path.islink(path):
                said += os.readlink(path)
            elif os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as text:
                    said += text.read()
            n_seen += 1
            for secret in secrets:
                assert secret not in said, f"{secret} in {path}"
    assert n_seen, f"nothing in {directory}: this test shows nothing"


def with_variables(s, password):
    return {"PBS_PASSWORD": password, "PBS_ENCRYPTION_PASSWORD": KEY_PASSWORD}


def with_commands(s, password):
    """Each command's environment has the other's secret at hand."""
    for name, secret in (("password", password), ("key-password", KEY_PASSWORD)):
        with open(s.path(name), "w", encoding="ascii") as out:
            out.write(secret + "\n")
    return {"PBS_PASSWORD_CMD": f"cat {s.path('password')}", "PBS_ENCRYPTION_PASSWORD": KEY_PASSWORD}


@pytest.mark.parametrize("form", [with_variables, with_commands])
@pytest.mark.parametrize("user, password", [("test@pbs", PASSWORD), ("test@pbs!tok", TOKEN_SECRET)],
                         ids=["user", "token"])
def test_no_secret_is_seen_from_outside(s, loop, strace, log, golden, form, user, password):
    secrets = (PASSWORD, TOKEN_SECRET, KEY_PASSWORD, "PBS:", "PBSAPIToken", "PBSAuthCookie")
    with Pbsd({"store": golden.store}, "--auth-delay=0", f"--token=tok={TOKEN_SECRET}", password=PASSWORD) as pbs:
        env = {**form(s, password), "PBS_FINGERPRINT": pbs.fingerprint}
        mapping = Trace(s, "map", env, "map", "--repository", pbs.repository("store", user), "--keyfile",
                        golden.key(KEY), SNAPSHOT, ARCHIVE)
        assert wait_until(mapping.printed) and mapping.printed().startswith("/dev/loop"), mapping.printed()
        device = mapping.printed().strip()
        look_at_processes(s, secrets, mapping.child.pid)
        look_into(s.run_dir, secrets)
        pbs.control("stop")
        assert is_lost(s, device)
        pbs.control("start")
        Read(device, 0).end()
        is_found(s, device)
        listing = Trace(s, "list", env, "list", "--json").ended()
        unmapping = Trace(s, "unmap", env, "unmap", device).ended()
        mapping.ended()
    for trace in (mapping, listing, unmapping):
        look_for(secrets, trace.calls())
        assert not any(secret in trace.printed() for secret in secrets)
    calls = mapping.calls()
    assert len(helpers_of(calls)) == ("_CMD" in " ".join(env)), "each command of a variable runs once"
    # What was looked at is there at all.
    assert all("PBSMAP_TEST_MARK=" in call for _, call in calls if call.startswith("execve("))
    assert any("symlink" in call and device in call for _, call in calls)
    said = "\n".join(call for _, call in calls if "sendto" in call or "connect" in call)
    assert SYSLOG in said
    if log:
        lines = logged(log)
        assert any("connection is lost" in line for line in lines), lines
        assert not any(secret in line for secret in secrets for line in lines)
