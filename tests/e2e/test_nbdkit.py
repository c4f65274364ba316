# SPDX-License-Identifier: Apache-2.0
"""The plugin in a real nbdkit, read by clients and through filters nobody here wrote."""
import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from golden import IMAGES
from harness import BUILD, CHUNK, IS_SANITIZED, MIB, contents_of, sha256_of, wait_until, with_terminal
from pbsd import PASSWORD, Pbsd
from test_damage import Damaged, ZEROS, digests

nbd = pytest.importorskip("nbd", reason="no python3-libnbd")

PLUGIN = os.path.join(BUILD, "src", "nbdkit", "nbdkit-pbs-plugin.so")
NBDKIT = shutil.which("nbdkit") or "nbdkit"
SNAPSHOT, ARCHIVE, SECOND = "vm/100/2024-06-03T00:00:00Z", "drive-scsi0.img", "drive-scsi1.img"

if not shutil.which("nbdkit"):
    pytest.skip("no nbdkit", allow_module_level=True)
if not os.path.exists(PLUGIN):
    pytest.skip("the plugin is not built: no headers of nbdkit", allow_module_level=True)
if os.path.basename(BUILD) == "tsan":
    pytest.skip("nbdkit itself is not built for ThreadSanitizer", allow_module_level=True)


def preload():
    """
    nbdkit is not built with the sanitizer of the plugin: that must come first.  The plugin as well, so that it is
    still there when leaks are looked for, and they have its name.
    """
    if not IS_SANITIZED:
        return {}
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, check=True, text=True)
    return {"LD_PRELOAD": f"{library.stdout.strip()} {PLUGIN}"}


def sanitizer_log(s):
    """Without a ':', which a test's own directory may have in its name."""
    return os.path.join(os.path.dirname(s.directory), f"nbdkit-{s.mark}")


def sanitized(s):
    """The environment of an nbdkit whose own leaks, and its filters', are not our matter."""
    if not IS_SANITIZED:
        return {}
    options = f"{os.environ.get('ASAN_OPTIONS', '')}:log_path={sanitizer_log(s)}:exitcode=0:abort_on_error=0"
    return {**preload(), "ASAN_OPTIONS": options}


def complaints(s):
    """What the sanitizer says of our code: all but leaks of others."""
    blocks = [block for path in glob.glob(sanitizer_log(s) + ".*")
              for block in open(path, encoding="utf-8", errors="replace").read().split("\n\n")]
    ours = r"nbdkit-pbs-plugin|\.\./src/(?!libsanitizer)"
    return [block for block in blocks if re.search(ours, block)
            or not re.search("leak of|detected memory leaks|leaked in|^[=\\s]*$", block)]


# Under LD_PRELOAD of the sanitizer strerror_r() unlocks glibc's lock of locales once too often, and libp11-kit, which is
# nbdkit's, waits for it at the end of the process.
loses_a_server = pytest.mark.skipif(IS_SANITIZED, reason="glibc's lock of locales is out of step after strerror_r() here")


def store_words(s, store, snapshot=SNAPSHOT, archive=None):
    return [f"repository={s.repository(store)}", f"snapshot={snapshot}", *([f"archive={archive}"] if archive else [])]


def image_words(s, image):
    """The same as Image.arguments()."""
    key = [f"keyfile={image.golden.key(image.key)}"] if image.key else []
    ns = [f"ns={image.ns}"] if image.ns else []
    return [*store_words(s, image.golden.store, image.snapshot, image.archive), *ns, *key]


class Nbdkit:
    """A running nbdkit -f with our plugin, ended with the test at the latest."""

    def __init__(self, s, *words, filters=(), more=(), env=None):
        self.s = s
        number = len(s.children)
        self.socket = s.path(f"nbd-{number}")
        self.log = s.path(f"nbdkit-{number}.log")
        pidfile = s.path(f"nbdkit-{number}.pid")
        with open(self.log, "wb") as log:
            self.process = s.start(NBDKIT, "-f", "-U", self.socket, "-P", pidfile,
                                   *[f"--filter={name}" for name in filters], PLUGIN, *words, *more,
                                   env={**sanitized(s), **(env or {})}, stderr=log)
        # The pid file is written when connections are answered.
        assert wait_until(lambda: os.path.exists(pidfile) or self.process.poll() is not None), self.said()
        assert self.process.poll() is None, self.said()

    def said(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()

    def uri(self, name=""):
        return f"nbd+unix:///{name}?socket={self.socket}"

    @contextlib.contextmanager
    def client(self, name=""):
        handle = nbd.NBD()
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.connect_uri(self.uri(name))
        yield handle
        with contextlib.suppress(nbd.Error):
            handle.shutdown()

    def copy(self, name=""):
        """All of it as nbdcopy reads it, in a file."""
        target = self.s.path(f"copy-{name}-{time.monotonic_ns()}")
        self.s.run("nbdcopy", self.uri(name), target)
        return target

    def stop(self, seconds=20):
        """It ends by itself, and says that all is well; the sanitizers look for leaks then."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0, self.said()
        assert not complaints(self.s)


@contextlib.contextmanager
def serving(s, *words, **more):
    server = Nbdkit(s, *words, **more)
    yield server
    server.stop()


def refuses(s, *words, env=None):
    """nbdkit does not start; what it says."""
    result = s.run(NBDKIT, "-f", "-U", s.path("refused"), PLUGIN, *words, check=False, env={**sanitized(s), **(env or {})})
    assert not complaints(s)
    assert result.status == 1 and "nbdkit: error: " in result.err, result
    assert not os.path.exists(s.path("refused"))
    return result.err


def bytes_of(s, golden, archive):
    path = s.path(f"expected-{archive}")
    s.map("--via", "file", "--repository", golden.store, SNAPSHOT, archive, path)
    data = contents_of(path)
    s.pbsmap("unmap", path)
    assert hashlib.sha256(data).hexdigest() == golden.image(SNAPSHOT, archive).sha256
    return data


def fails_with(code, call, *arguments):
    with pytest.raises(nbd.Error) as caught:
        call(*arguments)
    return caught.value.errnum == code


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_image(s, image):
    with serving(s, *image_words(s, image), env=image.env()) as server:
        copy = server.copy()
        assert os.path.getsize(copy) == image.size
        assert sha256_of(copy) == image.sha256
        s.run("qemu-img", "compare", "-f", "raw", "-F", "raw", copy, server.uri())


def test_all_images_of_a_snapshot_are_exports(s, golden):
    with serving(s, *store_words(s, golden.store)) as server:
        exports = json.loads(s.run("nbdinfo", "--list", "--json", server.uri()).out)["exports"]
        assert {export["export-name"]: (export["export-size"], export["description"]) for export in exports} == \
            {name: (golden.image(SNAPSHOT, name).size, SNAPSHOT) for name in (ARCHIVE, SECOND)}
        for name in (ARCHIVE, SECOND, SECOND + ".fidx"):
            assert sha256_of(server.copy(name)) == golden.image(SNAPSHOT, name.removesuffix(".fidx")).sha256
        for name in ("", "drive-scsi2.img"):
            with pytest.raises(nbd.Error):
                with server.client(name):
                    pass


def test_one_image_has_its_name_and_needs_none(s, golden):
    with serving(s, *store_words(s, golden.store, archive=SECOND + ".fidx")) as server:
        exports = json.loads(s.run("nbdinfo", "--list", "--json", server.uri()).out)["exports"]
        assert [export["export-name"] for export in exports] == [SECOND]
        for name in ("", SECOND):
            with server.client(name) as client:
                assert client.get_size() == golden.image(SNAPSHOT, SECOND).size
        with pytest.raises(nbd.Error):
            with server.client(ARCHIVE):
                pass


def test_a_group_is_its_newest_snapshot_and_needs_no_keyword(s, golden):
    words = [f"repository={s.repository(golden.store)}", f"archive={SECOND}"]
    with serving(s, "vm/100", *words) as server:
        assert f"snapshot {SNAPSHOT}" in server.said()
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, SECOND).sha256


def test_an_index_file_that_lies_around(s, golden):
    shutil.copy(os.path.join(golden.store, SNAPSHOT, f"{SECOND}.fidx"), s.path("loose.img.fidx"))
    with serving(s, f"snapshot={s.path('loose.img.fidx')}", f"chunks={golden.store}/.chunks") as server:
        assert "nothing vouches for it" in server.said()
        assert sha256_of(server.copy("loose.img")) == golden.image(SNAPSHOT, SECOND).sha256


def test_it_is_read_only_and_may_be_read_by_many(s, golden):
    with serving(s, *store_words(s, golden.store, archive=SECOND)) as server, server.client() as client:
        assert client.is_read_only() and client.can_multi_conn() and client.can_cache()
        assert not client.is_rotational()
        client.set_strict_mode(0)
        assert fails_with(errno.EPERM, client.pwrite, b"x" * 512, 0)
        assert fails_with(errno.EINVAL, client.pread, 512, client.get_size())
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, SECOND).sha256


def test_holes_are_the_chunks_of_zeros(s, golden):
    with serving(s, *store_words(s, golden.store, archive=ARCHIVE)) as server:
        shown = json.loads(s.run("nbdinfo", "--map", "--json", server.uri()).out)
        found = [row["type"] for row in shown for _ in range(-(-row["length"] // CHUNK))]
        assert found == [3 if digest == ZEROS else 0 for digest in digests(golden.store, archive=ARCHIVE)]
        assert {0, 3} == set(found)
        assert all(row["offset"] % CHUNK == 0 for row in shown)
        with server.client() as client:
            one = []
            client.block_status(32 * MIB, 100, lambda context, off, entries, error: one.extend(entries),
                                nbd.CMD_FLAG_REQ_ONE)
            assert len(one) == 2 and one[0] <= CHUNK - 100


def test_reads_of_all_sizes(s, golden):
    expected = bytes_of(s, golden, ARCHIVE)
    with serving(s, *store_words(s, golden.store, archive=ARCHIVE), "cache=8M") as server, server.client() as client:
        for off, length in ((0, 1), (CHUNK - 1, 2), (7, 3 * CHUNK), (0, 32 * MIB), (len(expected) - 1, 1),
                            (len(expected) - 20 * MIB, 20 * MIB)):
            assert client.pread(length, off) == expected[off:off + length], (off, length)


def test_cache_brings_bytes_into_memory(s, golden):
    """The datastore is away afterwards: what was brought can be read, and nothing else."""
    store = s.path("store")
    s.run("cp", "-a", golden.store, store)
    expected = bytes_of(s, golden, ARCHIVE)
    data = [n for n, digest in enumerate(digests(store, archive=ARCHIVE)) if digest != ZEROS]
    words = [*store_words(s, store, archive=ARCHIVE), "read-ahead=0", "timeout=1"]
    words[0] = f"repository={store}"  # by its path also where the others go through a server
    with serving(s, *words) as server, server.client() as client:
        client.cache(CHUNK, data[1] * CHUNK)
        s.run("rm", "-r", store)
        assert client.pread(CHUNK, data[1] * CHUNK) == expected[data[1] * CHUNK:(data[1] + 1) * CHUNK]
        assert fails_with(errno.EIO, client.pread, 512, data[2] * CHUNK)
        assert fails_with(errno.EIO, client.cache, 512, data[2] * CHUNK)


# -- filters of nbdkit -----------------------------------------------------------------------------


def needs_filter(name):
    found = subprocess.run([NBDKIT, f"--filter={name}", "--dump-plugin", "null"], check=False, capture_output=True)
    if found.returncode:
        pytest.skip(f"nbdkit has no filter {name} here")


@pytest.mark.parametrize("filters", [["cache"], ["readahead"], ["cow"], ["readahead", "cache"]], ids="+".join)
def test_filters_that_show_the_same(s, golden, filters):
    for name in filters:
        needs_filter(name)
    words = [*store_words(s, golden.store, archive=ARCHIVE), "cache-size=8M"]
    with serving(s, *words, filters=filters) as server:
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, ARCHIVE).sha256
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, ARCHIVE).sha256


def test_filter_cow_writes_beside_the_backup(s, golden):
    needs_filter("cow")
    expected = bytearray(bytes_of(s, golden, SECOND))
    words = store_words(s, golden.store, archive=SECOND)
    with serving(s, *words, filters=["cow"]) as server, server.client() as client:
        for off, length in ((0, 512), (CHUNK - 100, 4096), (len(expected) - 512, 512)):
            client.pwrite(b"\xa5" * length, off)
            expected[off:off + length] = b"\xa5" * length
        assert client.pread(len(expected), 0) == expected
    with serving(s, *words) as server:
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, SECOND).sha256


def parts_of(golden):
    return golden.file_systems[golden.image(SNAPSHOT, ARCHIVE).input]["parts"]


def test_filter_partition(s, golden):
    needs_filter("partition")
    expected = bytes_of(s, golden, ARCHIVE)
    for part in parts_of(golden):
        with serving(s, *store_words(s, golden.store, archive=ARCHIVE), filters=["partition"],
                     more=[f"partition={part['n']}"]) as server:
            assert contents_of(server.copy()) == expected[part["offset"]:part["offset"] + part["size"]]


def test_filter_ext2_shows_a_file(s, golden):
    needs_filter("ext2")
    part = next(part for part in parts_of(golden) if part["fs"] == "ext4")
    name, sha256 = max(part["files"].items())
    with serving(s, *store_words(s, golden.store, archive=ARCHIVE), filters=["ext2", "partition"],
                 more=[f"partition={part['n']}", f"ext2file=/{name}"]) as server:
        assert sha256_of(server.copy()) == sha256


@pytest.mark.skipif(IS_SANITIZED, reason="the tar that the filter runs would have the sanitizer, too")
def test_filter_tar_shows_a_member(s, mkstore):
    needs_filter("tar")
    member = os.urandom(3 * MIB + 77)
    with open(s.path("member"), "wb") as out:
        out.write(member)
    s.run("tar", "--blocking-factor=20", "-cf", s.path("raw"), "-C", s.directory, "member")
    s.mkstore(s.path("tars"), SNAPSHOT, f"{ARCHIVE}={s.path('raw')}")
    with serving(s, *store_words(s, s.path("tars"), archive=ARCHIVE), filters=["tar"],
                 more=["tar-entry=member"]) as server:
        assert contents_of(server.copy()) == member


# -- what goes wrong -------------------------------------------------------------------------------


def test_what_cannot_be_shown_is_said_and_nothing_starts(s, golden):
    good = store_words(s, golden.store)
    assert "snapshot= is missing" in refuses(s, good[0])
    assert "there is no parameter 'passwd'" in refuses(s, *good, "passwd=x")
    assert "cache= wants a size" in refuses(s, *good, "cache=much")
    said = refuses(s, *good, "archive=drive-scsi7.img")
    assert "there is no archive drive-scsi7.img" in said and ARCHIVE in said
    assert "vm/999" in refuses(s, *store_words(s, golden.store, "vm/999"))
    assert "no repository" in refuses(s, f"snapshot={SNAPSHOT}", env={"PBS_REPOSITORY": ""})


def test_keys(s, golden):
    image = next(image for image in golden.images if image.key and image.env())
    words = [word for word in image_words(s, image) if not word.startswith("keyfile=")]
    assert re.search("missing key: .* keyfile=$", refuses(s, *words).strip())
    assert "wrong key" in refuses(s, *words, f"keyfile={golden.key('key-wrong.json')}")
    said = refuses(s, *image_words(s, image), env={"PBS_ENCRYPTION_PASSWORD": "not-this-one"})
    assert "not-this-one" not in said
    assert "not signed" in refuses(s, *store_words(s, golden.store), f"keyfile={golden.key('key-none.json')}")
    with serving(s, *store_words(s, golden.store, archive=SECOND), f"keyfile={golden.key('key-none.json')}",
                 "allow-unsigned=true") as server:
        assert "warning: the manifest is not signed" in server.said()


@pytest.mark.parametrize("how", ["flip", "remove"])
def test_a_spoilt_chunk_fails_only_its_range_until_it_is_repaired(s, golden, store, how):
    damaged = Damaged(s, store)
    expected = bytes_of(s, golden, SECOND)
    getattr(damaged, how)(s)
    begin, end = damaged.index * CHUNK, (damaged.index + 1) * CHUNK
    with serving(s, *store_words(s, store, archive=SECOND)) as server, server.client() as client:
        for off in (begin, end - 1):
            assert fails_with(errno.EIO, client.pread, 1, off)
        assert fails_with(errno.EIO, client.pread, 2, end - 1)
        for off in range(0, len(expected), CHUNK // 2):
            if off // CHUNK != damaged.index:
                assert client.pread(512, off) == expected[off:off + 512]
        told, = [row for row in server.said().splitlines() if f"bytes {begin} to {end - 1} cannot be read" in row]
        assert told.count("chunk " + os.path.basename(damaged.chunk)) == 1, "told once which chunk it is"
        assert f"{SECOND}: bytes {begin} to {begin} cannot be read" in server.said()
        damaged.repair(s)
        assert client.pread(len(expected), 0) == expected


# -- nbdkit's ways to start: no thread, and a connection to a server, before it forks ---------------


@pytest.fixture
def pbsd(unpacked, golden):
    with Pbsd({"store": golden.store}, "--auth-delay=0") as server:
        yield server


@pytest.fixture(params=["directory", "server"])
def any_store(request, golden, s):
    """repository=… and the environment to read it."""
    if request.param == "directory":
        yield f"repository={golden.store}", {}
        return
    server = request.getfixturevalue("pbsd")
    yield f"repository={server.repository('store')}", server.env()


def start_in_background(s, *words, env, **more):
    pidfile = s.path("pid")
    s.run(NBDKIT, "-U", s.path("nbd"), "-P", pidfile, PLUGIN, *words, env={**sanitized(s), **env}, **more)
    assert wait_until(lambda: os.path.exists(pidfile))
    with open(pidfile, encoding="utf-8") as text:
        return int(text.read())


def is_gone(pid):
    return not os.path.exists(f"/proc/{pid}/fd")


def copied(s, uri):
    s.run("nbdcopy", uri, s.path("copy"))
    return sha256_of(s.path("copy"))


def test_in_the_background(s, golden, any_store):
    where, env = any_store
    pid = start_in_background(s, where, f"snapshot={SNAPSHOT}", f"archive={ARCHIVE}", env=env)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as words:
        assert PASSWORD.encode() not in environ.read() + words.read()
    assert copied(s, f"nbd+unix:///?socket={s.path('nbd')}") == golden.image(SNAPSHOT, ARCHIVE).sha256
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: is_gone(pid))


def test_a_relative_repository_in_the_background(s, golden, store):
    """A working directory of its own, and the store looked up again by its path."""
    pid = start_in_background(s, "repository=./store", f"snapshot={SNAPSHOT}", f"archive={ARCHIVE}", env={},
                              cwd=s.directory)
    away = s.path("away")
    os.rename(store, away)
    s.run("cp", "-a", away, store)
    s.run("rm", "-r", away)
    assert copied(s, f"nbd+unix:///?socket={s.path('nbd')}") == golden.image(SNAPSHOT, ARCHIVE).sha256
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: is_gone(pid))


@pytest.mark.skipif(IS_SANITIZED, reason="the shell of --run would have the sanitizer, too")
def test_with_a_captive_command(s, golden, any_store):
    where, env = any_store
    result = s.run(NBDKIT, "-U", "-", PLUGIN, where, SNAPSHOT, f"archive={ARCHIVE}", "--run",
                   'nbdcopy "$uri" - | sha256sum; env', env={**env, "PBS_ENCRYPTION_PASSWORD": "s3cr3t",
                                                              "TMPDIR": s.directory})
    assert result.out.split()[0] == golden.image(SNAPSHOT, ARCHIVE).sha256
    assert PASSWORD not in result.out and "s3cr3t" not in result.out
    assert not [name for name in os.listdir(s.directory) if name.startswith("nbdkit")]


@pytest.mark.skipif(IS_SANITIZED, reason="the shell in between would have the sanitizer, too")
def test_with_a_socket_of_a_service_manager(s, golden, any_store):
    where, env = any_store
    path = s.path("activated")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        # The descriptor becomes 3, the process number that of nbdkit.
        child = s.start("bash", "-c", f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"', "bash",
                        NBDKIT, PLUGIN, where, SNAPSHOT, f"archive={ARCHIVE}", env=env,
                        pass_fds=[listener.fileno()])
        assert copied(s, f"nbd+unix:///?socket={path}") == golden.image(SNAPSHOT, ARCHIVE).sha256
        child.terminate()
        assert child.wait(20) == 0


def test_a_single_client_on_standard_input(s, golden, any_store):
    where, env = any_store
    words = [NBDKIT, "-s", PLUGIN, where, SNAPSHOT, f"archive={SECOND}"]
    handle = nbd.NBD()
    s.note(words, env)
    names = {**s.env, **sanitized(s), **env}
    handle.connect_command(["env", *[f"{name}={value}" for name, value in names.items()], *words])
    assert hashlib.sha256(handle.pread(handle.get_size(), 0)).hexdigest() == golden.image(SNAPSHOT, SECOND).sha256
    handle.shutdown()


@pytest.mark.skipif(IS_SANITIZED, reason="the shell at the terminal would have the sanitizer, too")
def test_a_password_is_asked_for_before_it_goes_to_the_background(s, golden):
    image = next(image for image in golden.images if image.key and image.env())
    password = image.env()["PBS_ENCRYPTION_PASSWORD"]
    # nbdkit stays in the terminal's session, and ends with it.
    script = '"$@" && nbdcopy "nbd+unix:///?socket=$SOCKET" - | sha256sum; kill $(cat $PIDFILE)'
    paths = {"SOCKET": s.path("nbd"), "PIDFILE": s.path("pid")}
    command = ["/bin/sh", "-c", script, "sh", NBDKIT, "-U", paths["SOCKET"], "-P", paths["PIDFILE"], PLUGIN,
               *image_words(s, image)]
    s.note(command, paths)
    status, out, shown = with_terminal(command, {**s.env, **paths}, [("assword", password + "\r")], timeout=30)
    assert status == 0 and out.split()[0] == image.sha256, (out, shown)
    assert password not in shown
    assert wait_until(lambda: not s.servers())


# -- a server that is lost -------------------------------------------------------------------------


class Reading(threading.Thread):
    """A read on its way; done() has its bytes, or the error."""

    def __init__(self, client, length, off):
        super().__init__(daemon=True)
        self.client, self.length, self.off = client, length, off
        self.got = self.error = None
        self.start()

    def run(self):
        try:
            self.got = self.client.pread(self.length, self.off)
        except nbd.Error as error:
            self.error = error

    def is_over(self):
        return not self.is_alive()


@loses_a_server
def test_a_server_that_is_started_again_while_it_is_read(s, golden, pbsd):
    expected = bytes_of(s, golden, ARCHIVE)
    words = [f"repository={pbsd.repository('store')}", f"snapshot={SNAPSHOT}", f"archive={ARCHIVE}", "read-ahead=0"]
    data = [n * CHUNK for n, digest in enumerate(digests(golden.store, archive=ARCHIVE)) if digest != ZEROS]
    with serving(s, *words, env=pbsd.env()) as server, server.client() as client:
        assert client.pread(512, data[0]) == expected[data[0]:data[0] + 512]
        pbsd.control("stop", how="rst")
        reading = Reading(client, 4096, data[1])
        assert wait_until(lambda: "the connection is lost" in server.said())
        assert not reading.is_over()
        pbsd.control("start")
        assert wait_until(reading.is_over)
        assert reading.got == expected[data[1]:data[1] + 4096], reading.error
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, ARCHIVE).sha256
        assert pbsd.counters()["sessions"] == 2


@loses_a_server
def test_a_server_that_stays_away_is_an_error_when_time_is_over(s, golden, pbsd):
    words = [f"repository={pbsd.repository('store')}", f"snapshot={SNAPSHOT}", f"archive={SECOND}", "timeout=1"]
    with serving(s, *words, env=pbsd.env()) as server, server.client() as client:
        pbsd.control("stop", how="rst")
        start = time.monotonic()
        assert fails_with(errno.EIO, client.pread, 512, 0)
        assert 0.9 < time.monotonic() - start < 10
        assert "cannot be read: " in server.said()


def test_it_ends_although_a_read_waits_for_ever(s, golden, pbsd):
    """nbdkit itself then waits for its clients to go."""
    words = [f"repository={pbsd.repository('store')}", f"snapshot={SNAPSHOT}", f"archive={SECOND}", "timeout=0"]
    server = Nbdkit(s, *words, env=pbsd.env())
    with server.client() as client:
        pbsd.control("freeze")
        reading = Reading(client, 512, 0)
        time.sleep(1)
        assert not reading.is_over()
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(reading.is_over, 10)
        assert reading.error.errnum == errno.ESHUTDOWN
    assert server.process.wait(10) == 0
    assert not complaints(s)


@loses_a_server
def test_a_client_that_goes_away_takes_its_read_along(s, golden, pbsd):
    words = [f"repository={pbsd.repository('store')}", f"snapshot={SNAPSHOT}", f"archive={SECOND}", "timeout=0"]
    with serving(s, *words, env=pbsd.env()) as server:
        client = subprocess.Popen(["nbdcopy", server.uri(), "null:"], stderr=subprocess.DEVNULL)
        pbsd.control("freeze")
        time.sleep(0.3)
        client.kill()
        client.wait()
        assert wait_until(lambda: "the read was given up" in server.said(), 10)
        pbsd.control("thaw")
        assert sha256_of(server.copy()) == golden.image(SNAPSHOT, SECOND).sha256
