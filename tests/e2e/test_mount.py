# SPDX-License-Identifier: Apache-2.0
"""The files of an archive below a directory: what can be done with them, and how that comes to an end."""
import errno
import os
import signal
import subprocess
import threading

import pytest

from golden import Golden
from harness import BUSY, FAILED, NOT_FOUND, PBSMAP, TOP, USAGE, mounts_below, wait_until
from test_file import NOBODY, user  # noqa: F401  a fixture
from test_hang import waits_for_a_file
from test_inside import DATA_OF_NAMES, ENTRIES_OF_NAMES, LINKS, NS, SIGNED, mounted_without_data
from test_trees import from_file, paths_below

@pytest.fixture
def files(s):
    """A copy of the small datastore of file archives, to be damaged."""
    golden = Golden("golden-files", os.path.join(TOP, "tests", "golden-files"))
    golden.unpack(s.directory)
    s.env["PBS_REPOSITORY"] = golden.store
    return golden.store


@pytest.fixture
def mnt(s, root, files):
    target = s.path("mnt")
    assert s.pbsmap("mount", SIGNED, "names.pxar", target).out == target + "\n"
    return target


def all_of(top):
    return {path: from_file(os.path.join(os.fsencode(top), path)) for path in paths_below(top)}


def gone(s, target):
    return wait_until(lambda: target not in mounts_below(s.directory) and not s.servers())


# -- what can be done with them ----------------------------------------------------------------


@pytest.mark.core
def test_it_is_read_only(s, mnt):
    for path in ("new", "ß"):
        with pytest.raises(OSError) as why:
            os.open(os.path.join(mnt, path), os.O_WRONLY | os.O_CREAT)
        assert why.value.errno == errno.EROFS
    row = s.mapping(mnt)
    assert (row["via"], row["archive"], row["state"]) == ("mount", "names.pxar", "ready")
    s.pbsmap("umount", mnt)
    assert gone(s, mnt) and not os.path.exists(mnt)


def test_what_is_not_there_is_not_there(s, mnt):
    for path in ("gone", "ß/x", "ordner-ä/gone"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            os.lstat(os.path.join(mnt, path))
    with pytest.raises(OSError) as why:
        os.getxattr(os.path.join(mnt, "ß"), "user.gone")
    assert why.value.errno == errno.ENODATA


def test_numbers_stay_the_same(s, mnt):
    before = {path: os.lstat(os.path.join(os.fsencode(mnt), path)).st_ino for path in paths_below(mnt)}
    assert len(set(before.values())) == len(before)
    s.pbsmap("umount", mnt)
    s.pbsmap("mount", SIGNED, "names.pxar", mnt)
    after = {path: os.lstat(os.path.join(os.fsencode(mnt), path)).st_ino for path in paths_below(mnt)}
    assert before == after


def test_many_readers_at_once(s, mnt):
    want = all_of(mnt)
    failures = []

    def look():
        for _ in range(5):
            if all_of(mnt) != want:
                failures.append(1)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_a_directory_can_be_read_from_anywhere(s, mnt):
    """Each name comes once, however small the pieces, and again from the begin."""
    names = sorted(os.listdir(mnt))
    assert len(names) == 23
    out = s.run("find", mnt, "-mindepth", "1", "-maxdepth", "1", "-print0").out
    assert sorted(os.path.basename(name) for name in out.split("\0") if name) == names


def test_an_existing_directory_stays(s, root, files):
    target = s.path("mnt")
    os.mkdir(target)
    s.pbsmap("mount", "--json", *NS, LINKS, "links.pxar", target)
    assert os.readlink(os.path.join(target, "abs")) == "/etc/hostname"
    s.run("umount", target)
    assert gone(s, target) and os.path.isdir(target)


def test_a_directory_that_was_made_goes_with_whatever_unmounts_it(s, mnt):
    s.run("umount", mnt)
    assert gone(s, mnt) and not os.path.exists(mnt)


def test_what_cannot_be_mounted_is_said(s, root, files):
    with open(s.path("file"), "w", encoding="utf-8"):
        pass
    s.fails(NOT_FOUND, "mount", SIGNED, "names.pxar", s.path("file"))
    s.fails(NOT_FOUND, "mount", SIGNED, "gone.pxar", s.path("mnt"))
    s.fails(USAGE, "mount", SIGNED, "names.pxar")
    s.fails(USAGE, "mount", SIGNED, "qemu-server.conf", s.path("mnt"))
    assert not os.path.exists(s.path("mnt")) and not s.servers()


def test_what_nobody_is_told_of_is_undone_by_then(s, root, files):
    target = s.path("mnt")
    command = ["sh", "-c", '"$@" >/dev/full', "sh", PBSMAP, "mount", SIGNED, "names.pxar", target]
    for _ in range(3):
        assert s.run(*command, check=False).status == FAILED
        assert not os.path.lexists(target)


def test_a_directory_shows_one_archive_at_a_time(s, mnt):
    names, name = sorted(os.listdir(mnt)), s.mapping(mnt)["name"]
    result = s.fails(BUSY, "mount", *NS, LINKS, "links.pxar", mnt)
    assert f"{mnt} shows {name} already; take that away first" in result.err
    assert sorted(os.listdir(mnt)) == names
    s.pbsmap("umount", mnt)
    assert gone(s, mnt)


def test_options_of_the_mount(s, root, files):
    target = s.path("mnt")
    s.pbsmap("mount", "-o", "noexec,noatime,rw", *NS, LINKS, "links.pxar", target)
    with open("/proc/self/mountinfo", encoding="utf-8") as rows:
        row, = [row for row in rows if row.split()[4] == target]
    assert {"noexec", "noatime", "nosuid", "nodev", "ro"} <= set(row.split()[5].split(","))


def test_the_kernel_reads_ahead_as_much_as_one_request_may_have(s, mnt):
    device = os.stat(mnt).st_dev
    with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", encoding="ascii") as text:
        assert text.read() == "1024\n"


# -- an ordinary user --------------------------------------------------------------------------


def test_an_ordinary_user_mounts_for_herself(s, files, user):
    target = s.path("mnt")
    assert user("mount", *NS, LINKS, "links.pxar", target).out == target + "\n"
    seen = s.run("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "ls", "-A", target)
    assert len(seen.out.splitlines()) == 7
    assert s.run("ls", target, check=False).status != 0  # not even root
    user("umount", target)
    assert not s.servers()


def test_an_ordinary_user_mounts_what_only_others_may_list(s, user):
    """As the root of a machine's backup may be; what modes let everybody do, she may."""
    snapshot, target = "host/closed/2026-01-02T03:04:05Z", s.path("mnt")
    s.mkstore(s.path("store"), snapshot, "--synthetic-tree", "1000:1M:0711", "root.pxar")
    s.run("chmod", "-R", "a+rX", s.path("store"))
    user("mount", "--repository", s.path("store"), snapshot, "root.pxar", target)
    as_her = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "ls"]
    assert "Permission denied" in s.run(*as_her, target, check=False).err
    assert s.run(*as_her, os.path.join(target, "large")).out.split() == ["one", "two"]
    user("umount", target)
    assert not s.servers()


# -- its end -----------------------------------------------------------------------------------


def test_an_open_file_counts_as_busy(s, mnt):
    with open(os.path.join(mnt, "ß"), "rb"):
        assert "python" in s.fails(BUSY, "umount", mnt).err
    s.pbsmap("umount", mnt)
    assert gone(s, mnt)


def test_who_is_in_a_directory_counts_as_busy(s, mnt):
    """It is named at once, the command itself as well; and a signal takes the mount away when that has left."""
    assert "(pbsmap)" in s.fails(BUSY, "umount", mnt, cwd=mnt).err
    child = s.start("sleep", "1000", cwd=os.path.join(mnt, "ordner-ä"))
    assert f"process {child.pid} (sleep)" in s.fails(BUSY, "umount", mnt).err
    row = s.mapping(mnt)
    assert row["state"] == "ready" and row["holders"] == [f"process {child.pid} (sleep)"]
    s.kill(row["pid"], signal.SIGTERM)
    assert wait_until(lambda: s.mapping(mnt)["state"] == "ending")
    assert os.path.exists(os.path.join(mnt, "ß"))
    child.kill()
    child.wait()
    assert gone(s, mnt)


def test_what_somebody_mounts_over_it_is_not_taken_away(s, mnt):
    """It is busy by that, as it is by a user; a signal waits for both to go."""
    child = s.start("sleep", "1000", cwd=mnt)
    row = s.mapping(mnt)
    s.kill(row["pid"], signal.SIGTERM)
    assert wait_until(lambda: s.mapping(mnt)["state"] == "ending")
    s.run("mount", "-t", "tmpfs", "mine", mnt)
    with open(os.path.join(mnt, "precious"), "w", encoding="utf-8"):
        pass
    child.kill()
    child.wait()
    assert wait_until(lambda: s.mapping(mnt)["holders"] == [f"mounted on {mnt}"])
    assert not wait_until(lambda: os.listdir(mnt) != ["precious"], 2.5)  # its keeper tries once a second
    s.umount(mnt)
    assert gone(s, mnt)


def test_what_was_mounted_below_it_before_is_in_nobodys_way(s, root, files):
    target = s.path("mnt")
    below = os.path.join(target, "below")
    os.makedirs(below)
    s.run("mount", "-t", "tmpfs", "earlier", below)
    try:
        s.pbsmap("mount", *NS, LINKS, "links.pxar", target)
        assert s.mapping(target)["holders"] == []
        s.pbsmap("umount", target)
    finally:
        s.umount(below)


def test_what_is_mounted_in_it_counts_as_busy(s, mnt):
    inner = os.path.join(mnt, "ordner-ä")
    s.run("mount", "-t", "tmpfs", "inner", inner)
    assert f"mounted on {inner}" in s.fails(BUSY, "umount", mnt).err
    s.umount(inner)
    s.run("mount", "-t", "tmpfs", "over", mnt)
    assert f"mounted on {mnt}" in s.fails(BUSY, "umount", mnt).err
    s.umount(mnt)
    s.pbsmap("umount", mnt)
    assert gone(s, mnt)


def test_users_of_a_server_process_that_does_not_answer_are_named(s, mnt):
    pid = s.mapping(mnt)["pid"]
    child = s.start("sleep", "1000", cwd=mnt)
    s.kill(pid, signal.SIGSTOP)
    row = s.mapping(mnt)
    s.kill(pid, signal.SIGCONT)
    assert (row["state"], row["via"], row["holders"]) == ("silent", "mount", [f"process {child.pid} (sleep)"])


def test_force_takes_it_away_from_its_users(s, mnt):
    fd = os.open(os.path.join(mnt, "ordner-ä"), os.O_RDONLY)
    s.pbsmap("umount", "--force", mnt)
    assert mnt not in mounts_below(s.directory)
    with pytest.raises(OSError):
        os.listdir(fd)
    os.close(fd)
    assert gone(s, mnt)


def test_kill_9_leaves_no_mount(s, mnt):
    s.kill(s.mapping(mnt)["pid"])
    assert gone(s, mnt)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(s, mnt, number):
    s.kill(s.mapping(mnt)["pid"], number)
    assert gone(s, mnt)


def test_in_the_foreground(s, root, files):
    target = s.path("mnt")
    child = s.start(PBSMAP, "mount", "--foreground", *NS, LINKS, "links.pxar", target)
    assert wait_until(lambda: [row for row in s.list() if row["device"] == target])
    assert os.path.lexists(os.path.join(target, "abs"))
    s.pbsmap("umount", target)
    assert child.wait(20) == 0


# -- damage ------------------------------------------------------------------------------------


def test_data_that_is_gone_is_an_error_of_its_files(s, root, files):
    os.unlink(os.path.join(files, DATA_OF_NAMES))
    target = mounted_without_data(s)
    assert s.mapping(target)["damaged_chunks"] == 1
    assert os.listdir(os.path.join(target, "ordner-ä")) == ["ünter"]


def test_a_server_that_does_not_answer_ends_in_an_error(s, root, files):
    """Its chunk is a file of another mapping, whose process is stopped."""
    target, stuck = s.path("mnt"), s.path("stuck")
    s.pbsmap("mount", *NS, LINKS, "links.pxar", stuck)
    pid = s.mapping(stuck)["pid"]
    s.pbsmap("mount", "--timeout", "1", SIGNED, "names.pxar", target)
    chunk = os.path.join(files, DATA_OF_NAMES)
    s.run("mount", "--bind", os.path.join(stuck, "target"), chunk)
    s.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(OSError) as why:
            open(os.path.join(target, "ß"), "rb").read()
        assert why.value.errno == errno.EIO
        assert len(os.listdir(target)) == 23  # what is in memory goes on
    finally:
        s.kill(pid, signal.SIGCONT)
        s.run("umount", "--lazy", chunk)


def test_who_waits_for_a_server_that_does_not_answer_can_be_killed(s, root, files):
    """A look into entries, whose chunk hangs as above; no limit of time."""
    target, stuck = s.path("mnt"), s.path("stuck")
    s.pbsmap("mount", *NS, LINKS, "links.pxar", stuck)
    pid = s.mapping(stuck)["pid"]
    s.pbsmap("mount", "--timeout", "0", "--cache", "1", SIGNED, "names.pxar", target)
    for name in (DATA_OF_NAMES, ENTRIES_OF_NAMES):
        s.run("mount", "--bind", os.path.join(stuck, "target"), os.path.join(files, name))
    s.kill(pid, signal.SIGSTOP)
    try:
        # With a cache of nothing the entries go when data comes: this look has to fetch them again.
        reader = s.start("cat", os.path.join(target, "ß"), os.path.join(target, "..."), stderr=subprocess.DEVNULL)
        assert wait_until(lambda: waits_for_a_file(s.mapping(target)["pid"]))
        lookers = [s.start("ls", "-lR", target, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for _ in range(12)]  # more than there are threads
        assert wait_until(lambda: waits(reader, "cat") and all(waits(looker, "ls") for looker in lookers))
        for process in [reader, *lookers]:
            process.kill()
        assert wait_until(lambda: all(process.poll() is not None for process in [reader, *lookers]))
    finally:
        s.kill(pid, signal.SIGCONT)
        for name in (DATA_OF_NAMES, ENTRIES_OF_NAMES):
            s.run("umount", "--lazy", os.path.join(files, name))


def waits(process, name):
    """It sleeps, and has nothing else to sleep for."""
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as text:
        before, after = text.read().rsplit(") ", 1)
    return before.endswith("(" + name) and after.split()[0] in "SD"
