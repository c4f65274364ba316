# SPDX-License-Identifier: Apache-2.0
"""The NBD server, asked by clients that nobody here wrote."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading

import pytest

from golden import IMAGES
from harness import BUSY, CHUNK, FAILED, MIB, NOT_FOUND, PBSMAP, USAGE, contents_of, sha256_of, wait_until
from test_damage import ZEROS, chunk_path, digests
from test_hang import children_of
from test_images import partitions

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
PYTHON = "/usr/bin/python3"  # Debian's own, which has libnbd's module


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi0.img")


@pytest.fixture
def sock():
    """A path that fits into an address, whatever the test's name."""
    directory = tempfile.mkdtemp(prefix="pbsmap-nbd-")
    os.chmod(directory, 0o777)
    yield os.path.join(directory, "sock")
    shutil.rmtree(directory)


def need(program):
    if not shutil.which(program):
        pytest.skip(f"no {program}")


def serve(s, *arguments, env=None, **more):
    """`pbsmap serve` in the background; the URI it prints."""
    child = s.start(PBSMAP, "serve", *arguments, env=env, stdout=subprocess.PIPE, text=True, **more)
    line = child.stdout.readline()
    assert line.endswith("\n"), f"no URI; exit {child.wait(20)}"
    return child, line[:-1]


def uri_of(path, export=""):
    return f"nbd+unix:///{export}?socket={path}"


@pytest.fixture
def uri(s, image, sock):
    return s.map("--via", "socket", *image.arguments(), sock)


def nbdsh(s, uri, script, *options, **more):
    """Lines of Python in libnbd's shell, connected unless an option says otherwise."""
    if s.run(PYTHON, "-c", "import nbd", check=False).status:
        pytest.skip("no python3-libnbd")
    connect = [] if "--opt-mode" in options else ["-u", uri]
    return s.run(PYTHON, "-m", "nbd", *options, *connect, "-c", "uri = " + repr(uri), "-c", script, **more).out


# -- what it shows ---------------------------------------------------------------------------------

@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_every_image_comes_out_byte_for_byte(s, image, sock):
    need("nbdcopy")
    uri = s.map("--via", "socket", *image.arguments(), sock, env=image.env())
    assert uri == uri_of(sock, image.archive)
    s.run("nbdcopy", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    assert os.stat(s.path("copy")).st_size == image.size
    s.pbsmap("unmap", uri)
    assert not os.path.exists(sock)
    assert not s.servers()


def test_what_clients_are_told(s, uri, image, sock):
    need("nbdinfo")
    told = json.loads(s.run("nbdinfo", "--json", uri).out)["exports"][0]
    assert told["export-name"] == image.archive
    assert told["export-size"] == image.size
    assert told["contexts"] == ["base:allocation"]
    assert told["is_read_only"] and told["can_multi_conn"] and told["can_cache"] and told["can_df"]
    assert not told["can_flush"] and not told["can_fua"] and not told["can_trim"] and not told["can_zero"]
    assert (told["block_size_minimum"], told["block_size_maximum"]) == (1, 32 * MIB)
    assert s.run("nbdinfo", "--size", uri).out.strip() == str(image.size)
    # The default export is the only disk.
    assert s.run("nbdinfo", "--size", uri_of(sock)).out.strip() == str(image.size)


def holes(s, uri):
    rows = json.loads(s.run("nbdinfo", "--json", "--map", uri).out)
    return [(row["offset"], row["length"]) for row in rows if row["type"] == 3], rows


def test_zero_chunks_are_holes(s, uri, image):
    need("nbdinfo")
    s.run("nbdcopy", uri, s.path("copy"))
    expected = contents_of(s.path("copy"))
    zeros = [off for off in range(0, image.size - CHUNK + 1, CHUNK) if not any(expected[off:off + CHUNK])]
    assert zeros, "this image has no zero chunk"
    found, rows = holes(s, uri)
    assert [off for hole, length in found for off in range(hole, hole + length, CHUNK)] == zeros
    assert sum(row["length"] for row in rows) == image.size


@pytest.mark.parametrize("image", [i for i in IMAGES if partitions(i) and i.input.startswith("parts")][:1], ids=repr)
def test_every_partition_is_an_export(s, image, sock):
    need("nbdcopy")
    mapped = s.pbsmap("map", "--json", "--via", "socket", *image.arguments(), sock, env=image.env()).json
    parts = [part for _, part in partitions(image)]
    assert mapped["partitions"] == [uri_of(sock, f"{image.archive}/p{part['n']}") for part in parts]
    s.run("nbdcopy", mapped["uri"], s.path("whole"))
    whole = contents_of(s.path("whole"))
    for uri, part in zip(mapped["partitions"], parts):
        s.run("nbdcopy", uri, s.path("part"))
        assert contents_of(s.path("part")) == whole[part["offset"]:part["offset"] + part["size"]]
    names = [e["export-name"] for e in json.loads(s.run("nbdinfo", "--list", "--json", mapped["uri"]).out)["exports"]]
    assert names == [image.archive] + [f"{image.archive}/p{part['n']}" for part in parts]


def test_a_snapshot_with_all_its_images(s, golden, sock):
    need("nbdinfo")
    child, uri = serve(s, "--repository", golden.store, "--socket", sock, SNAPSHOT)
    assert uri == uri_of(sock)
    told = json.loads(s.run("nbdinfo", "--list", "--json", uri).out)["exports"]
    disks = {row["export-name"]: row["export-size"] for row in told if "/" not in row["export-name"]}
    assert disks == {i.archive: i.size for i in golden.images if i.snapshot == SNAPSHOT and not i.ns}
    for archive in disks:
        s.run("nbdcopy", uri_of(sock, archive), s.path("copy"))
        assert sha256_of(s.path("copy")) == golden.image(SNAPSHOT, archive).sha256
    # There is no default where there are several.
    assert s.run("nbdinfo", "--size", uri, check=False).status != 0
    row = s.mapping(sock)
    assert row["archive"] == ",".join(sorted(disks)) and row["size"] == sum(disks.values())
    assert row["read_bytes"] >= sum(disks.values()) / 3
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert not os.path.exists(sock)


def test_some_archives_by_name(s, golden, sock):
    need("nbdinfo")
    child, uri = serve(s, "--repository", golden.store, "--socket", sock, SNAPSHOT, "drive-scsi1.img",
                       "drive-scsi0.img")
    told = json.loads(s.run("nbdinfo", "--list", "--json", uri).out)["exports"]
    assert [row["export-name"] for row in told if "/" not in row["export-name"]] == ["drive-scsi1.img",
                                                                                      "drive-scsi0.img"]
    child.kill()
    child.wait()
    assert wait_until(lambda: not os.path.exists(sock))  # by its keeper


@pytest.mark.parametrize("words", [["drive-scsi0.img", "drive-scsi0.img"], ["drive-scsi0.img", "drive-scsi0.img.fidx"]])
def test_an_archive_given_twice_is_refused(s, golden, words, sock):
    result = s.fails(USAGE, "serve", "--repository", golden.store, "--socket", sock, SNAPSHOT, *words)
    assert "twice" in result.err
    assert not os.path.exists(sock)


def test_an_archive_that_is_not_there(s, golden, sock):
    result = s.fails(NOT_FOUND, "serve", "--repository", golden.store, "--socket", sock, SNAPSHOT,
                     "drive-scsi0.img", "drive-scsi7.img")
    assert "drive-scsi7.img" in result.err and "drive-scsi1.img" in result.err
    assert not os.path.exists(sock)


# -- commands ---------------------------------------------------------------------------------------

def test_each_command_and_each_error(s, uri, image):
    out = nbdsh(s, uri, f"""
import errno, hashlib
size = h.get_size()
assert size == {image.size}
assert h.is_read_only() and h.can_multi_conn() and h.can_cache() and h.can_df()
data = h.pread(size - {60 * MIB}, {60 * MIB})
assert h.pread(512, {60 * MIB}) == data[:512]
assert h.pread(1, size - 1) == data[-1:]
def chunk(buf, off, kind, error):
    assert kind in (nbd.READ_DATA, nbd.READ_HOLE) and error.value == 0
    kinds.append(kind)
kinds = []
assert h.pread_structured(8 << 20, 0, chunk) == h.pread(8 << 20, 0)
assert set(kinds) == {{nbd.READ_DATA, nbd.READ_HOLE}}
kinds = []
assert h.pread_structured(8 << 20, 0, chunk, nbd.CMD_FLAG_DF) == h.pread(8 << 20, 0)
assert kinds == [nbd.READ_DATA]
extents = []
h.block_status(size, 0, lambda context, off, entries, error: extents.append((context, off, entries)))
assert len(extents) == 1 and extents[0][0] == "base:allocation" and sum(extents[0][2][::2]) == size
one = []
h.block_status({2 * CHUNK}, 5, lambda context, off, entries, error: one.append(entries), nbd.CMD_FLAG_REQ_ONE)
assert one == [[{CHUNK} - 5, 0]]
h.cache(size, 0)
h.set_strict_mode(0)
def fails(number, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as e:
        assert e.errnum == number, (call, e.errnum)
    else:
        raise AssertionError("no error")
fails(errno.EPERM, h.pwrite, bytes(512), 0)
fails(errno.EPERM, h.pwrite, bytes(512), size)
fails(errno.EPERM, h.pwrite, bytes(3 << 20), 0, nbd.CMD_FLAG_FUA)
fails(errno.EPERM, h.trim, 512, 0)
fails(errno.EPERM, h.zero, 512, 0)
fails(errno.EPERM, h.flush)
fails(errno.EINVAL, h.pread, 1, size)
fails(errno.EINVAL, h.pread, 2, size - 1)
fails(errno.EINVAL, h.block_status, 1, size, lambda *a: 0)
fails(errno.EINVAL, h.cache, 1, size)
assert h.pread(512, {60 * MIB}) == data[:512]
h.shutdown()
print("good")
""", "--base-allocation")
    assert out.endswith("good\n")


def test_options_in_any_order(s, uri, image, sock):
    out = nbdsh(s, uri, """
h.set_export_name("nothing")
try:
    h.opt_go()
    raise AssertionError("went to nothing")
except nbd.Error as e:
    assert h.aio_is_negotiating()
names = []
h.opt_list(lambda name, about: names.append((name, about)))
assert names[0][0] == "drive-scsi0.img" and "64 MiB" in names[0][1]
h.set_export_name("drive-scsi0.img")
contexts = []
h.opt_list_meta_context(lambda name: contexts.append(name))
assert contexts == ["base:allocation"]
h.opt_info()
assert h.get_size() == 64 << 20
h.opt_go()
assert h.pread(512, 0)
print("good")
""", "--opt-mode", "-c", "h.set_request_meta_context(False) if hasattr(h, 'set_request_meta_context') else 0",
                "-c", f"h.connect_unix({sock!r})")
    assert out.endswith("good\n")


@pytest.mark.parametrize("settings", ["h.set_request_structured_replies(False)",
                                      "h.set_handshake_flags(0)",
                                      "h.set_handshake_flags(nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE)"])
def test_clients_that_can_less(s, uri, image, settings):
    out = nbdsh(s, uri, f"""
{settings}
h.connect_uri(uri)
import hashlib
digest = hashlib.sha256()
for off in range(0, h.get_size(), 1 << 20):
    digest.update(h.pread(1 << 20, off))
print(digest.hexdigest())
""", "--opt-mode", "-c", "h.set_opt_mode(False)")
    assert out.strip() == image.sha256


# -- other clients ----------------------------------------------------------------------------------

def test_qemu_img(s, uri, image):
    need("qemu-img")
    assert json.loads(s.run("qemu-img", "info", "--output=json", uri).out)["virtual-size"] == image.size
    s.run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    s.run("qemu-img", "compare", "-f", "raw", uri, s.path("copy"))
    rows = json.loads(s.run("qemu-img", "map", "--output=json", "-f", "raw", uri).out)
    assert sum(row["length"] for row in rows if row["zero"]) == sum(length for _, length in holes(s, uri)[0])
    s.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, s.path("copy.qcow2"))
    s.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", uri, s.path("copy.qcow2"))


def test_qemu_io(s, uri):
    need("qemu-io")
    result = s.run("qemu-io", "-r", "-f", "raw", "-c", "read 0 1M", "-c", "read 12345 54321", "-c", "aio_read 1M 4M",
                   "-c", "aio_read 8M 4M", "-c", "aio_flush", uri)
    assert result.out.count("read") >= 4 and "fail" not in result.out


def test_fio(s, uri, image):
    need("fio")
    result = s.run("fio", "--name=x", "--ioengine=nbd", f"--uri={uri}", "--rw=randread", "--bs=4k", "--iodepth=32",
                   "--size=32M", "--time_based", "--runtime=1", "--output-format=json", check=False)
    if "engine nbd not loadable" in result.err or "failed to load engine" in result.err:
        pytest.skip("this fio has no nbd engine")
    assert result.status == 0, result
    job = json.loads(result.out[result.out.index("{"):])["jobs"][0]
    assert job["error"] == 0 and job["read"]["total_ios"] > 100


def test_nbdfuse(s, uri, image):
    need("nbdfuse")
    with open(s.path("file"), "w", encoding="utf-8"):
        pass
    child = s.start("nbdfuse", "-r", s.path("file"), uri)
    assert wait_until(lambda: os.stat(s.path("file")).st_size == image.size)
    assert sha256_of(s.path("file")) == image.sha256
    s.run("fusermount3", "-u", s.path("file"))
    assert child.wait(20) == 0


def test_nbdkit_filters(s, uri, image):
    need("nbdkit")
    part = [part for _, part in partitions(image)][0]
    s.run("nbdkit", "-U", "-", "--exit-with-parent", "nbd", f"uri={uri}", "--filter=partition", f"partition={part['n']}",
          "--run", f"nbdcopy \"$uri\" {s.path('copy')}")
    assert os.stat(s.path("copy")).st_size == part["size"]


def test_a_sparse_copy_takes_only_the_data(s, mkstore, sock):
    need("nbdcopy")
    size = 16 << 30
    s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", "--index-only", size, "disk.img")
    uri = s.map("--via", "socket", "--repository", s.path("made"), "vm/1", "disk.img", sock)
    s.run("nbdcopy", "--destination-is-zero", uri, s.path("copy"), timeout=60)
    data = size - sum(length for _, length in holes(s, uri)[0])
    about = os.stat(s.path("copy"))
    assert 0 < data < size // 8
    assert about.st_size == size and about.st_blocks * 512 < data + CHUNK


# -- several at once --------------------------------------------------------------------------------

def test_many_clients_at_once(s, uri, image):
    need("nbdcopy")
    copies = [s.start("nbdcopy", uri, s.path(f"copy{n}")) for n in range(8)]
    assert [copy.wait(60) for copy in copies] == [0] * 8
    assert {sha256_of(s.path(f"copy{n}")) for n in range(8)} == {image.sha256}


def damage(store, index):
    with open(chunk_path(store, digests(store)[index]), "r+b") as chunk:
        chunk.seek(100)
        chunk.write(b"\xff" * 20)


def test_damage_is_an_error_of_what_touches_it(s, store, sock):
    uri = s.map("--via", "socket", "--repository", store, SNAPSHOT, "drive-scsi1.img", sock)
    index = next(i for i, digest in enumerate(digests(store)) if i > 0 and digest not in (ZEROS, digests(store)[0]))
    damage(store, index)
    out = nbdsh(s, uri, f"""
import errno
try:
    h.pread(4096, {index * CHUNK})
    raise AssertionError("read damage")
except nbd.Error as e:
    assert e.errnum == errno.EIO
h.pread(4096, 0)
print("good")
""")
    assert out.endswith("good\n")
    assert s.mapping(sock)["damaged_chunks"] == 1


def test_a_disk_whose_partition_table_is_damaged(s, store, sock):
    damage(store, 0)
    result = s.pbsmap("map", "--json", "--via", "socket", "--repository", store, SNAPSHOT, "drive-scsi1.img", sock)
    assert result.json["partitions"] == []
    out = nbdsh(s, result.json["uri"], f"print(len(h.pread(4096, {3 * CHUNK})))")
    assert out == "4096\n"


# -- sockets ----------------------------------------------------------------------------------------

def test_the_socket_is_its_owners(s, uri, sock):
    about = os.stat(sock)
    assert stat.S_ISSOCK(about.st_mode) and stat.S_IMODE(about.st_mode) == 0o600
    assert about.st_uid == os.geteuid()


def test_what_is_there_stays(s, image, sock):
    with open(sock, "w", encoding="utf-8") as out:
        out.write("precious")
    result = s.fails(FAILED, "map", "--via", "socket", *image.arguments(), sock)
    assert sock in result.err
    with open(sock, encoding="utf-8") as text:
        assert text.read() == "precious"
    assert s.list() == [] and not s.servers()


def test_two_do_not_share_a_path(s, uri, image, sock):
    s.fails(FAILED, "map", "--via", "socket", *image.arguments(), sock)
    need("nbdinfo")
    assert s.run("nbdinfo", "--size", uri).out.strip() == str(image.size)
    assert len(s.list()) == 1


def test_tcp(s, image):
    need("nbdinfo")
    child, uri = serve(s, "--listen", "0", *image.arguments())
    assert uri.startswith("nbd://127.0.0.1:") and uri.endswith("/" + image.archive)
    s.run("nbdcopy", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    row, = s.list()
    assert row["device"] == row["uri"] == uri
    s.pbsmap("unmap", uri)
    assert child.wait(20) == 0


def test_a_machine_that_is_gone_is_no_client_after_two_minutes(s, image):
    need("ss")
    child, uri = serve(s, "--listen", "0", *image.arguments())
    port = re.search(r":(\d+)", uri)[1]
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        assert client.recv(8) == b"NBDMAGIC"
        # Until what was sent is acknowledged, another timer runs.
        shown = wait_until(lambda: re.search(r"timer:\(keepalive,(?:1min,|\d+sec,|(.*?),)",
                                             s.run("ss", "-Htno", f"sport = :{port}").out))
    assert shown and not shown[1], shown
    child.terminate()


def test_tcp_on_an_address_of_ones_choice(s, image):
    child, uri = serve(s, "--listen", "127.0.0.2:0", *image.arguments())
    assert uri.startswith("nbd://127.0.0.2:")
    port = int(uri.split(":")[2].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    socket.create_connection(("127.0.0.2", port), 5).close()


@pytest.mark.parametrize("words,says", [
    ([], "--socket"), (["--listen", "nowhere"], "nowhere"), (["--listen", "1", "--socket", "x"], "both"),
    (["--idle", "soon", "--listen", "0"], "soon"),
])
def test_mistakes(s, golden, words, says):
    result = s.fails(USAGE, "serve", "--repository", golden.store, *words, SNAPSHOT)
    assert says in result.err


def test_sockets_of_a_service_manager(s, image, sock):
    need("nbdinfo")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(sock)
        listener.listen(5)
        # LISTEN_PID is the number of the process itself: this one becomes the program.
        command = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), " \
                  "LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
        child = s.start(PYTHON, "-c", command, listener.fileno(), PBSMAP, "serve", *image.arguments(),
                        stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()])
        uri = child.stdout.readline().strip()
        assert uri == uri_of(sock, image.archive)
        s.run("nbdcopy", uri, s.path("copy"))
        assert sha256_of(s.path("copy")) == image.sha256
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    assert os.path.exists(sock)  # it is the service manager's


# -- its life ---------------------------------------------------------------------------------------

class Client:
    """A user that does nothing."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(20)
        self.get(18)
        self.socket.sendall(bytes([0, 0, 0, 3]) + b"IHAVEOPT" + bytes([0, 0, 0, 7, 0, 0, 0, 6]) + bytes(6))
        self.get(20 + 12 + 20)

    def get(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            assert piece, "hung up"
            data += piece
        return data

    def read(self, off, length):
        self.socket.sendall(bytes.fromhex("25609513 0000 0000") + bytes(8) + off.to_bytes(8, "big") +
                            length.to_bytes(4, "big"))
        assert self.get(16)[:8] == bytes.fromhex("67446698 00000000")
        return self.get(length)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.socket.close()


@pytest.mark.core
def test_clients_are_users(s, uri, sock):
    with Client(sock) as client, Client(sock):
        assert len(client.read(0, 4096)) == 4096
        held = s.mapping(sock)["holders"]  # one user, though of two connections
        assert len(held) == 1 and f"process {os.getpid()} (" in held[0]
        result = s.fails(BUSY, "unmap", uri)
        assert str(os.getpid()) in result.err
        assert len(client.read(0, 4096)) == 4096
    s.pbsmap("unmap", sock)
    assert s.list() == [] and not s.servers()
    assert not os.path.exists(sock)


def test_unmap_waits_for_the_last_client(s, uri, sock):
    with Client(sock) as client:
        waiting = s.start(PBSMAP, "unmap", "--wait=20", uri)
        assert len(client.read(0, 512)) == 512
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
    assert waiting.wait(20) == 0
    assert s.list() == []


def test_unmap_by_force(s, uri, sock):
    with Client(sock) as client:
        s.pbsmap("unmap", "--force", uri)
        assert not os.path.exists(sock)
        assert client.socket.recv(1) == b""
    assert s.list() == [] and not s.servers()


def test_a_signal_means_the_last_client(s, image, sock):
    child, _ = serve(s, "--socket", sock, *image.arguments())
    with Client(sock) as client:
        child.send_signal(signal.SIGTERM)
        assert wait_until(lambda: not os.path.exists(sock))  # nobody new
        assert len(client.read(0, 512)) == 512
        assert s.mapping(sock)["state"] == "ending"
    assert child.wait(20) == 0


def test_the_second_signal_means_now(s, image, sock):
    child, _ = serve(s, "--socket", sock, *image.arguments())
    with Client(sock) as client:
        child.send_signal(signal.SIGINT)
        assert wait_until(lambda: not os.path.exists(sock))
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
        assert client.socket.recv(1) == b""


def test_kill_9_leaves_nothing(s, uri, sock):
    with Client(sock) as client:
        s.kill(s.mapping(sock)["pid"])
        assert client.socket.recv(1) == b""
        assert wait_until(lambda: not os.path.exists(sock))
    assert s.list() == []
    assert wait_until(lambda: not s.servers())


def test_unmap_removes_the_socket_of_a_killed_keeper(s, uri, sock):
    keeper, = children_of(s.mapping(sock)["pid"])
    s.kill(keeper)
    with Client(sock) as client:
        assert len(client.read(0, 512)) == 512
    s.pbsmap("unmap", sock)
    assert not os.path.exists(sock) and s.list() == []


def test_a_socket_that_cannot_be_told_of_is_gone_when_the_command_ends(s, image, sock):
    """The command is stuck in telling of it, and then nobody listens; its keeper takes long to take it away."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    command = s.start(PBSMAP, "map", "--via", "socket", *image.arguments(), sock, stdout=writer)
    os.close(writer)
    assert wait_until(lambda: glob.glob(os.path.join(s.run_dir, "*.sock")))
    server, = children_of(command.pid)
    keeper, = children_of(server)
    s.kill(keeper, signal.SIGSTOP)
    os.close(reader)
    assert command.wait(20) == FAILED
    assert s.servers() == [keeper]
    s.kill(keeper, signal.SIGCONT)
    assert wait_until(lambda: not s.servers())
    assert not os.path.exists(sock)


def test_it_ends_when_nobody_came_for_long(s, image, sock):
    child, _ = serve(s, "--idle", "1", "--socket", sock, *image.arguments())
    with Client(sock) as client:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(2)
        assert len(client.read(0, 512)) == 512
    assert child.wait(20) == 0
    assert not os.path.exists(sock)


def test_the_server_has_no_rights_it_does_not_need(s, root, uri, image, sock):
    pid = s.mapping(sock)["pid"]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as rows:
            status = dict(row.rstrip("\n").split(":\t", 1) for row in rows)
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_an_ordinary_user(s, root, golden, image, sock):
    need("nbdcopy")
    shutil.copy(PBSMAP, s.path("pbsmap"))
    for top, folders, names in os.walk(s.directory):
        for name in [".", *folders, *names]:
            os.chown(os.path.join(top, name), 65534, 65534)
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]
    uri = s.run(*as_nobody, s.path("pbsmap"), "map", "--via", "socket", *image.arguments(), sock).out.strip()
    assert os.stat(sock).st_uid == 65534
    s.run(*as_nobody, "nbdcopy", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    s.run(*as_nobody, s.path("pbsmap"), "unmap", uri)
    assert not os.path.exists(sock)


# -- clients that mean no good ----------------------------------------------------------------------

def test_floods_harm_nobody_else(s, uri, image, sock):
    """Connections that say nothing, that say nonsense, that ask and take nothing; and one who copies."""
    need("nbdcopy")
    pid = s.mapping(sock)["pid"]
    silent = []
    for _ in range(300):
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.connect(sock)
        silent.append(one)
    for one in silent[:100]:
        one.send(b"\x00\x00\x00\x03IHAVEOPT\xff\xff\xff\xff\x00\x00\x00\x00" * 3)
    greedy = [Client(sock) for _ in range(8)]
    ask = bytes.fromhex("25609513 0000 0000") + bytes(8) + bytes(8) + (4 * MIB).to_bytes(4, "big")
    stop = threading.Event()

    def flood(client):
        client.socket.settimeout(0.2)
        while not stop.is_set():
            try:
                client.socket.send(ask * 20)
            except OSError:
                stop.wait(0.1)

    floods = [threading.Thread(target=flood, args=[client]) for client in greedy]
    for one in floods:
        one.start()
    try:
        s.run("nbdcopy", uri, s.path("copy"), timeout=60)
        assert sha256_of(s.path("copy")) == image.sha256
        with open(f"/proc/{pid}/status", encoding="utf-8") as rows:
            status = dict(row.rstrip("\n").split(":\t", 1) for row in rows)
        assert int(status["VmRSS"].split()[0]) << 10 < 800 * MIB
    finally:
        stop.set()
        for one in floods:
            one.join()
        for one in silent:
            one.close()
        for client in greedy:
            client.socket.close()
    assert wait_until(lambda: not s.mapping(sock)["holders"])
    s.pbsmap("unmap", uri)
