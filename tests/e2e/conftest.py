# SPDX-License-Identifier: Apache-2.0
import glob
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from golden import SETS
from harness import BUILD, MKSTORE, Session
from pbsd import Pbsd


def pytest_configure(config):
    config.addinivalue_line("markers", "core: runs under ThreadSanitizer as well")
    config.addinivalue_line("markers", "kernel: runs in the machine of tests/vm as well")
    config.addinivalue_line("markers", "vm: runs there only, for devices that this kernel may not have")
    config.addinivalue_line("markers", "patient: takes long for reasons of time, not of code: once is enough")
    config.addinivalue_line("markers", "directory: about a datastore directory itself, not about what a server shows")


def pytest_collection_modifyitems(items):
    for item in items:
        if "nbd" in item.fixturenames:
            item.add_marker(pytest.mark.vm)


# Said, and nothing wrong, when a thread ends while leaks are looked for at the end of the process.
HARMLESS = "Unable to get registers from thread"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.has_passed = outcome.get_result().passed


@pytest.fixture(scope="session")
def base():
    """Below /tmp and open to all: tests run the program as other users, too."""
    directory = tempfile.mkdtemp(prefix="pbsmap-e2e-")
    os.chmod(directory, 0o755)
    yield directory
    # What a failed test left stays, to be looked at.
    if not glob.glob(os.path.join(directory, "test_*")):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def sanitizer_log(base):
    """A server in the background has no stderr: the sanitizers write to files, of any user."""
    directory = os.path.join(base, "sanitizer")
    os.mkdir(directory)
    os.chmod(directory, 0o1777)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        os.environ[name] = f"{os.environ.get(name, '')}:log_path={directory}/{name[:4].lower()}"
    return directory


@pytest.fixture(scope="session")
def unpacked(base):
    for golden in SETS:
        golden.unpack(base)


@pytest.fixture(scope="session")
def server(base):
    """All datastores through a server, where PBSMAP_E2E_SERVER says so; else None."""
    if not os.environ.get("PBSMAP_E2E_SERVER"):
        yield None
        return
    empty = os.path.join(base, "empty")
    os.makedirs(os.path.join(empty, ".chunks"))
    with Pbsd({"empty": empty}, "--auth-delay=0") as running:
        yield running


@pytest.fixture
def s(base, request, sanitizer_log, unpacked, server):
    """The test's Session; takes everything away at the end, whatever happened."""
    name = re.sub(r"[^A-Za-z0-9_.+:-]+", "-", request.node.name)
    directory = os.path.join(base, name[:100])
    os.mkdir(directory)
    repros = os.path.join(BUILD, "e2e")
    os.makedirs(repros, exist_ok=True)
    session = Session(directory, os.path.join(repros, f"{name}.repro.sh"), server)
    yield session
    left = session.clean_up()
    reports = []
    for path in glob.glob(os.path.join(sanitizer_log, "*")):
        with open(path, encoding="utf-8", errors="replace") as text:
            reports += [line for line in text if line.strip() and HARMLESS not in line]
        os.unlink(path)
    print("".join(reports))
    if getattr(request.node, "has_passed", False) and not left and not reports:
        shutil.rmtree(directory, ignore_errors=True)
    assert not left, f"left behind: {left}"
    assert not reports, "the sanitizers complain"


@pytest.fixture
def golden(unpacked):
    """The first golden datastore; not to be changed."""
    if not SETS:
        pytest.skip("no golden datastore here")
    return SETS[0]


@pytest.fixture
def store(s, golden):
    """A copy of the golden datastore, to be damaged."""
    target = s.path("store")
    s.run("cp", "-a", "--reflink=auto", golden.store, target)
    return target


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def strace(root):
    probe = ["strace", "-f", "-e", "trace=execve", "true"]
    if not shutil.which("strace") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("strace is not here, or may not trace")


@pytest.fixture
def loop(root):
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this kernel has no loop devices")


@pytest.fixture
def nbd(root):
    """Tests that want it run in the machine of tests/vm."""
    if subprocess.run(["modprobe", "nbd"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this kernel has no network block devices")


@pytest.fixture
def own_mounts(root):
    """Mounts that nobody else sees: unshare --mount."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('"/" is no mount here, as in a plain chroot: mounts cannot be made private')


@pytest.fixture
def mkstore():
    if not os.path.exists(MKSTORE):
        pytest.skip("mkstore is not built")
