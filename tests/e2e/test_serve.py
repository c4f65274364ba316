# SPDX-License-Identifier: Apache-2.0
"""Where an NBD server listens, and what is refused before there is one."""
import os
import signal
import socket
import subprocess

import pytest

from harness import NOT_FOUND, PBSMAP, USAGE, sha256_of, wait_until
from test_hang import children_of
from test_life import has_no_rights, statuses_of
from test_nbd import PYTHON, SNAPSHOT, Client, need, serve

LONGEST = 107  # bytes; unix(7)


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi1.img")


@pytest.mark.parametrize("words,status,says", [
    ([], USAGE, "where to listen is not said"), (["--listen", "99999"], USAGE, "no address"),
    (["--listen", ""], USAGE, "no address"), (["--socket", ""], USAGE, "needs a path"),
    (["--listen", "0", "--tls-certificates", "gone"], NOT_FOUND, "gone/server-cert.pem"),
    (["--listen", "0", "--tls-psk", "gone.psk"], NOT_FOUND, "gone.psk"),
    (["--listen", "0", "--tls-psk", "/dev/null"], USAGE, "no keys"),
])
def test_a_mistake_is_told_before_anybody_is_asked_for_a_backup(s, words, status, says):
    result = s.fails(status, "serve", "--repository", s.path("nowhere"), *words, SNAPSHOT)
    assert says in result.err and "nowhere" not in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--via", "nbd", SNAPSHOT, "x.img", "nbd3"], [SNAPSHOT, "x.img", "/dev/nbd0p1"]])
def test_what_is_no_device_is_told_before_that_as_well(s, words):
    result = s.fails(USAGE, "map", "--repository", s.path("nowhere"), *words)
    assert f"'{words[-1]}' is no NBD device" in result.err and result.err.count("\n") == 1


# -- paths -----------------------------------------------------------------------------------------

def path_of(length):
    """Of a file that is not there, straight in /tmp: it goes with the server."""
    path = f"/tmp/pbsmap-{os.getpid()}-"
    return path + "s" * (length - len(path))


@pytest.mark.parametrize("words", [["serve", "--socket"], ["map", "--via", "socket"]], ids=lambda words: words[0])
def test_one_that_no_client_can_name_is_refused_before_anything_is_looked_for(s, words):
    path = path_of(LONGEST + 1)
    backup = ["--repository", s.path("nowhere"), SNAPSHOT, "x.img"]
    result = s.fails(USAGE, *words, *([path, *backup] if words[0] == "serve" else [*backup, path]))
    assert f"at most {LONGEST} bytes" in result.err and path in result.err and "nowhere" not in result.err
    assert not os.path.exists(path)


def test_the_longest_one(s, image):
    need("nbdcopy")
    path = path_of(LONGEST)
    uri = s.map("--via", "socket", *image.arguments(), path)
    s.run("nbdcopy", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    s.pbsmap("unmap", path)
    assert not os.path.exists(path)


def test_a_relative_one_in_a_directory_of_a_long_path(s, image):
    """The URI is good where it was asked for; the mapping has the path in full."""
    need("nbdcopy")
    directory = s.path("d" * 120)
    os.mkdir(directory)
    _, uri = serve(s, "--socket", "sock", *image.arguments(), cwd=directory)
    assert uri == f"nbd+unix:///{image.archive}?socket=sock"
    s.run("nbdcopy", uri, s.path("copy"), cwd=directory)
    assert sha256_of(s.path("copy")) == image.sha256
    s.pbsmap("unmap", os.path.join(directory, "sock"))
    assert os.listdir(directory) == []


# -- who can reach it ------------------------------------------------------------------------------

@pytest.mark.parametrize("address,has_tls,warns", [("*:0", False, True), ("*:0", True, False), ("0", False, False)])
def test_an_address_that_others_reach_is_warned_of(s, image, address, has_tls, warns):
    with open(s.path("keys.psk"), "w", encoding="utf-8") as keys:
        keys.write("alice:00112233445566778899aabbccddeeff\n")
    child, _ = serve(s, "--listen", address, *(["--tls-psk", s.path("keys.psk")] if has_tls else []),
                     *image.arguments(), stderr=subprocess.PIPE)
    child.terminate()
    assert child.wait(20) == 0
    said = child.stderr.read()
    assert said.count("\n") == warns and ("--tls-psk" in said and address in said) == warns


# -- rights ----------------------------------------------------------------------------------------

def full_notify_socket(path):
    """Whoever tells it something waits until it is read."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    listener.settimeout(20)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            while True:
                sender.sendto(b"X", path)
        except BlockingIOError:
            return listener


def sleeps(pid):
    return all(status["State"].startswith("S") for status in statuses_of(pid))


def test_who_talks_to_clients_has_no_rights(s, store, image):
    """Whoever is told that it is ready may take its time."""
    is_root = os.geteuid() == 0
    if is_root:
        for top, _, _ in os.walk(store):
            os.chown(top, 34, 34)
    path = path_of(60)
    with full_notify_socket(s.path("notify")) as listener, \
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        child, _ = serve(s, "--socket", path, "--repository", store, SNAPSHOT, image.archive,
                         env={"NOTIFY_SOCKET": s.path("notify")})
        client.connect(path)
        assert wait_until(lambda: sleeps(child.pid))
        with pytest.raises(BlockingIOError):
            client.recv(18, socket.MSG_DONTWAIT)
        while listener.recv(100) != b"READY=1":
            pass
        client.settimeout(20)
        assert client.recv(18) == b"NBDMAGICIHAVEOPT\0\3"
        for status in statuses_of(child.pid):
            has_no_rights(status)
            assert "0" not in status["Uid"].split() or not is_root
    child.terminate()
    assert child.wait(20) == 0


# -- its end ---------------------------------------------------------------------------------------

def test_ctrl_c_tells_whom_it_waits_for(s, image):
    path = path_of(60)
    child, _ = serve(s, "--socket", path, *image.arguments(), stderr=subprocess.PIPE)
    with Client(path):
        child.send_signal(signal.SIGINT)
        line = child.stderr.readline()
        assert "ends with its last client" in line and f"process {os.getpid()} " in line
    assert child.wait(20) == 0
    assert child.stderr.read() == ""


def test_ctrl_c_says_nothing_where_nobody_is(s, image):
    child, _ = serve(s, "--listen", "0", *image.arguments(), stderr=subprocess.PIPE)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0
    assert child.stderr.read() == ""


# -- sockets of a service manager ------------------------------------------------------------------

def serve_passed(s, listener, *arguments, env=None, stderr=None):
    """With a socket as a service manager passes it: to the process of this number."""
    command = "import os, sys; fd = int(sys.argv[1]); os.dup2(fd, 3); os.close(fd); " \
              "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='nbd'); " \
              "os.execv(sys.argv[2], sys.argv[2:])"
    child = s.start(PYTHON, "-c", command, listener.fileno(), PBSMAP, "serve", *arguments, stdout=subprocess.PIPE,
                    stderr=stderr, text=True, env=env, pass_fds=[listener.fileno()])
    assert child.stdout.readline().startswith("nbd+unix:")
    return child


@pytest.fixture
def listener():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.bind("")  # an abstract name
        one.listen(5)
        yield one


def number_of(listener):
    return f"socket:[{os.fstat(listener.fileno()).st_ino}]"


def test_passed_sockets_are_nobody_else_s(s, golden, listener):
    """Whoever says the password sees neither them nor the variables that tell of them."""
    image = next(image for image in golden.images if image.key and image.env())
    with open(s.path("says"), "w", encoding="utf-8") as out:
        out.write(f"env > {s.path('env')}\nls -l /proc/$$/fd > {s.path('fds')}\n"
                  f"echo {image.env()['PBS_ENCRYPTION_PASSWORD']}\n")
    child = serve_passed(s, listener, *image.arguments(), env={"PBS_ENCRYPTION_PASSWORD_CMD": f"sh {s.path('says')}"})
    with open(s.path("env"), encoding="utf-8") as env, open(s.path("fds"), encoding="utf-8") as fds:
        assert "LISTEN_" not in env.read()
        assert number_of(listener) not in fds.read()
    child.terminate()
    assert child.wait(20) == 0


def test_with_passed_sockets_the_keeper_has_nothing(s, image, listener):
    """It has nothing to take away at the end: no rights are needed for that, and nothing of the caller's."""
    child = serve_passed(s, listener, *image.arguments())
    keeper, = children_of(child.pid)
    assert wait_until(lambda: os.readlink(f"/proc/{keeper}/cwd") == "/")  # it has answered before
    for status in statuses_of(keeper):
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    names = {fd: os.readlink(f"/proc/{keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{keeper}/fd")}
    assert {names.pop(fd) for fd in "012"} == {"/dev/null"}
    assert len(names) == 1 and number_of(listener) not in names.values()  # one, to the server
    child.terminate()
    assert child.wait(20) == 0
