# SPDX-License-Identifier: Apache-2.0
"""The life of a mapping: ready, busy, unmapped, killed."""
import glob
import os
import signal
import socket
import subprocess

import pytest

from harness import (BUSY, CHUNK, IS_SANITIZED, NOT_FOUND, PBSMAP, USAGE, is_attached, mounts_below, number_of, open_fd,
                     sha256_of, wait_until)

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
ARCHIVE = "drive-scsi1.img"  # an ext4 file system without a partition table


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, ARCHIVE)


@pytest.fixture
def device(s, loop, image):
    return s.map(*image.arguments())


def sockets(s):
    return [path for path in glob.glob(os.path.join(s.run_dir, "**"), recursive=True) if not os.path.isdir(path)
            and not path.endswith("lock")]


@pytest.mark.core
def test_mapped_read_listed_unmapped(s, loop, image):
    device = s.map(*image.arguments())
    assert sha256_of(device, image.size) == image.sha256
    row = s.mapping(device)
    assert (row["snapshot"], row["archive"], row["size"]) == (SNAPSHOT, ARCHIVE, image.size)
    assert row["state"] and row["holders"] == []
    s.pbsmap("unmap", device)
    assert s.list() == []
    assert not is_attached(device)
    assert not s.servers()
    assert not sockets(s)


def test_the_shell_does_not_wait_for_the_server(s, loop, image):
    """dev=$(pbsmap map ...) and ssh-like callers end when everybody has closed their pipes."""
    reader, writer = os.pipe()
    result = s.run("sh", "-c", 'dev=$("$@") && echo "got $dev"', "sh", PBSMAP, "map", *image.arguments(),
                   pass_fds=[writer], stdin=subprocess.PIPE, timeout=20)
    os.close(writer)
    assert result.out.startswith("got /dev/loop")
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b"", "the server holds a descriptor it inherited"
    os.close(reader)


def test_the_server_keeps_nothing_of_its_caller(s, device):
    pid = s.mapping(device)["pid"]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)
    for fd in (0, 1, 2):
        target = f"/proc/{pid}/fd/{fd}"
        assert not os.path.exists(target) or os.readlink(target) == "/dev/null"


def statuses_of(pid):
    """Of each thread: rights belong to threads."""
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="utf-8") as rows:
            yield dict(row.rstrip("\n").split(":\t", 1) for row in rows)


def has_no_rights(status):
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    # What a sanitizer does is not in the list.
    assert status["Seccomp"] == ("0" if IS_SANITIZED else "2")


@pytest.mark.directory
def test_the_server_of_roots_datastore_has_no_rights_left(s, store, image, loop):
    device = s.map("--repository", store, SNAPSHOT, ARCHIVE)
    assert os.stat(os.path.join(store, ".chunks")).st_uid == 0
    statuses = list(statuses_of(s.mapping(device)["pid"]))
    assert len(statuses) > 4
    for status in statuses:
        has_no_rights(status)


def test_the_server_has_no_rights_left(s, store, image, loop):
    for top, _, _ in os.walk(store):
        os.chown(top, 34, 34)
    os.chmod(os.path.join(store, ".chunks"), 0o750)
    device = s.map("--repository", store, SNAPSHOT, ARCHIVE)
    for status in statuses_of(s.mapping(device)["pid"]):
        assert set(status["Uid"].split()) == {"65534" if s.server else "34"}
        assert set(status["Gid"].split()) == {"65534" if s.server else "34"}
        has_no_rights(status)
    assert sha256_of(device, image.size) == image.sha256
    s.pbsmap("unmap", device)


# -- busy ------------------------------------------------------------------------------------------

def refuses(s, device, *words):
    """unmap says busy and by whom, in words and in JSON, and the device stays."""
    result = s.fails(BUSY, "unmap", device)
    error = s.fails(BUSY, "unmap", device, "--json").json["error"]
    assert error["exit"] == BUSY and len(error["holders"]) == 1, error
    for word in words:
        assert word in result.err and word in error["holders"][0]
    holders = s.mapping(device)["holders"]
    assert len(holders) == 1 and all(word in holders[0] for word in words)


def test_a_plain_reader_counts_as_busy(s, device):
    with open_fd(device) as fd:
        reader = s.start("sleep", "300", stdout=fd)
    refuses(s, device, str(reader.pid), "sleep")
    reader.kill()
    reader.wait()
    s.pbsmap("unmap", device)


def test_a_mounted_device_names_the_mount_point(s, device):
    target = s.mount(device, "ro,noload")
    refuses(s, device, target)
    s.umount(target)
    s.pbsmap("unmap", device)


def test_a_loop_device_on_top_counts_as_busy(s, device):
    upper = s.run("losetup", "--find", "--show", "--read-only", device).out.strip()
    try:
        refuses(s, device, upper)
    finally:
        s.run("losetup", "--detach", upper)
    s.pbsmap("unmap", device)


def test_wait_ends_when_the_last_user_has_gone(s, device):
    with open_fd(device):
        waiting = s.start(PBSMAP, "unmap", "--wait", device, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
    assert waiting.wait(20) == 0, waiting.stderr.read()
    assert not is_attached(device)


def test_wait_with_a_limit_says_busy_at_its_end(s, device):
    with open_fd(device):
        result = s.fails(BUSY, "unmap", "--wait=1", device)
        assert str(os.getpid()) in result.err
    s.pbsmap("unmap", "--wait=5", device)


def test_force_gives_readers_an_error_and_leaves_nothing(s, device):
    with open_fd(device) as fd:
        s.pbsmap("unmap", "--force", device)
        assert s.list() == []
        assert wait_until(lambda: not s.servers())
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            assert os.pread(fd, 4096, 2 * CHUNK) == b""
        except OSError:
            pass
    assert wait_until(lambda: not is_attached(device))


def test_force_takes_a_mounted_device_away(s, device):
    target = s.mount(device, "ro,noload")
    s.pbsmap("unmap", "--force", device)
    assert wait_until(lambda: not s.servers())
    assert target not in mounts_below(s.directory)
    assert wait_until(lambda: not is_attached(device))


# -- which one -------------------------------------------------------------------------------------

def test_unmap_by_number_by_name_and_by_its_tail(s, loop, image):
    by_number = s.map(*image.arguments())
    s.pbsmap("unmap", number_of(by_number))
    by_name = s.map("--name", "my disk", *image.arguments())
    assert s.mapping(by_name)["name"] == "my disk"
    s.pbsmap("unmap", "my disk")
    by_default = s.map(*image.arguments())
    name = s.mapping(by_default)["name"]
    assert SNAPSHOT in name and name.endswith("/" + ARCHIVE)
    s.pbsmap("unmap", name)
    s.map(*image.arguments())
    s.pbsmap("unmap", ARCHIVE)
    assert s.list() == []


def test_a_tail_is_cut_at_a_slash(s, device):
    for which in ("scsi1.img", "img"):
        name = s.mapping(device)["name"]
        assert f"nothing is mapped as {which}; there is: {name}" in s.fails(NOT_FOUND, "unmap", which).err
    assert is_attached(device)


def test_what_is_not_mapped_is_said(s, loop, image):
    device = s.map(*image.arguments())
    s.pbsmap("unmap", device)
    assert f"{device} is not mapped; there are no mappings" in s.fails(NOT_FOUND, "unmap", number_of(device)).err


def test_two_maps_of_one_image_are_two_devices(s, loop, image):
    first = s.map(*image.arguments())
    second = s.map(*image.arguments())
    assert first != second
    assert s.mapping(second)["name"] == s.mapping(first)["name"] + "#2"
    s.pbsmap("unmap", first)
    assert [row["device"] for row in s.list()] == [second]
    assert sha256_of(second, image.size) == image.sha256
    s.pbsmap("unmap", second)


def test_a_tail_that_fits_several_is_refused_with_the_candidates(s, loop, golden, image):
    first = s.map(*image.arguments())
    other = golden.image("vm/203/2024-06-02T00:00:00Z", "drive-scsi0.img")
    fifth = golden.image("vm/204/2024-06-02T00:00:00Z", "drive-scsi0.img")
    second, third = s.map(*other.arguments()), s.map(*fifth.arguments())
    result = s.pbsmap("unmap", "drive-scsi0.img", "--json", check=False)
    assert result.status not in (0, BUSY), result
    assert len(result.json["error"]["candidates"]) == 2
    assert {row["device"] for row in s.list()} == {first, second, third}


def test_unmap_alone_shows_what_is_mapped(s, device):
    result = s.pbsmap("unmap", check=False)
    assert result.status == USAGE
    assert device in result.err + result.out


def test_unmap_of_a_foreign_loop_device_leaves_it_alone(s, loop):
    path = s.path("foreign")
    with open(path, "wb") as out:
        out.truncate(1 << 20)
    foreign = s.run("losetup", "--find", "--show", path).out.strip()
    try:
        assert s.pbsmap("unmap", foreign, check=False).status == NOT_FOUND
        s.pbsmap("unmap", "--all", "--force")
        assert is_attached(foreign)
    finally:
        s.run("losetup", "--detach", foreign)


def test_unmap_all(s, loop, image):
    devices = [s.map(*image.arguments()) for _ in range(3)]
    with open_fd(devices[1]):
        s.fails(BUSY, "unmap", "--all")
        assert [row["device"] for row in s.list()] == [devices[1]]
    s.pbsmap("unmap", "--all")
    assert s.list() == []
    s.pbsmap("unmap", "--all")


def test_a_name_that_is_taken_is_refused_or_numbered(s, loop, image):
    s.map("--name", "mine", *image.arguments())
    s.pbsmap("map", "--name", "mine", *image.arguments(), check=False)
    names = [row["name"] for row in s.list()]
    assert len(names) == len(set(names))


# -- signals and crashes ---------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmaps(s, device, number):
    s.kill(s.mapping(device)["pid"], number)
    assert wait_until(lambda: not s.servers())
    assert not is_attached(device)
    # Who became somebody else may not remove them: then the next command does.
    assert s.server or not sockets(s)
    assert not s.list() and not sockets(s)


def test_a_signal_waits_for_the_last_user(s, device):
    pid = s.mapping(device)["pid"]
    with open_fd(device) as fd:
        s.kill(pid, signal.SIGTERM)
        assert len(os.pread(fd, 4096, 2 * CHUNK)) == 4096
        assert wait_until(lambda: not s.servers(), 0.5) is False
    assert wait_until(lambda: not s.servers())
    assert not is_attached(device)


def test_a_second_signal_forces(s, device):
    pid = s.mapping(device)["pid"]
    with open_fd(device):
        s.kill(pid, signal.SIGTERM)
        assert wait_until(lambda: not s.servers(), 0.5) is False
        s.kill(pid, signal.SIGTERM)
        assert wait_until(lambda: not s.servers())
    assert wait_until(lambda: not is_attached(device))


@pytest.mark.core
def test_kill_9_leaves_no_device_and_no_mount(s, device):
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        before = len(rows.readlines())
    s.kill(s.mapping(device)["pid"])
    assert wait_until(lambda: not is_attached(device))
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        assert len(rows.readlines()) == before
    assert sockets(s), "nothing to sweep: this test shows nothing"
    assert s.list() == []
    assert not sockets(s)


def test_kill_9_while_somebody_reads(s, device):
    with open_fd(device) as fd:
        s.kill(s.mapping(device)["pid"])
        assert wait_until(lambda: not s.servers())
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with pytest.raises(OSError):
            os.pread(fd, 4096, 2 * CHUNK)
    assert wait_until(lambda: not is_attached(device))
    assert s.list() == []


def test_a_mapping_in_the_foreground(s, loop, image):
    server = s.start(PBSMAP, "map", "--foreground", *image.arguments(), stdout=subprocess.PIPE)
    device = server.stdout.readline().decode().strip()
    assert sha256_of(device, image.size) == image.sha256
    assert s.mapping(device)["pid"] == server.pid
    server.send_signal(signal.SIGINT)
    assert server.wait(20) in (0, 130)
    assert not is_attached(device)


def test_unmap_ends_the_foreground(s, loop, image):
    server = s.start(PBSMAP, "map", "--foreground", *image.arguments(), stdout=subprocess.PIPE)
    device = server.stdout.readline().decode().strip()
    s.pbsmap("unmap", device)
    assert server.wait(20) == 0


def test_control_c_before_it_is_ready_undoes_everything(s, loop, image):
    """The password command hangs, so it is not ready."""
    marker = s.path("asked")
    mapping = s.start(PBSMAP, "map", *s_with_key(image.golden), stderr=subprocess.PIPE, start_new_session=True,
                      env={"PBS_ENCRYPTION_PASSWORD_CMD": f"sh -c 'touch {marker}; exec sleep 300'"})
    assert wait_until(lambda: os.path.exists(marker))
    os.killpg(mapping.pid, signal.SIGINT)
    assert mapping.wait(20) in (130, -signal.SIGINT)
    assert wait_until(lambda: not s.servers())
    assert s.list() == []


def test_the_death_of_the_parent_before_it_is_ready_undoes_everything(s, loop, image):
    marker = s.path("asked")
    mapping = s.start(PBSMAP, "map", *s_with_key(image.golden), stderr=subprocess.PIPE,
                      env={"PBS_ENCRYPTION_PASSWORD_CMD": f"sh -c 'touch {marker}; read line'"})
    assert wait_until(lambda: os.path.exists(marker))
    mapping.kill()
    mapping.wait(20)
    assert s.list() == []


def s_with_key(golden):
    return golden.image("vm/201/2024-06-02T00:00:00Z", "drive-scsi0.img").arguments()


def test_it_tells_the_service_manager_that_it_is_ready(s, loop, image):
    path = s.path("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.settimeout(20)
        server = s.start(PBSMAP, "map", "--foreground", *image.arguments(), stdout=subprocess.PIPE,
                         env={"NOTIFY_SOCKET": path})
        assert b"READY=1" in listener.recv(4096)
        server.terminate()
        assert server.wait(20) == 0
