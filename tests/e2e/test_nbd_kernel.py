# SPDX-License-Identifier: Apache-2.0
"""--via nbd: a kernel NBD device.  Few kernels have it; the one of tests/vm does."""
import os
import signal
import subprocess

import pytest

from golden import Golden, IMAGES
from harness import (BUSY, FAILED, NOT_FOUND, PBSMAP, USAGE, contents_of, open_fd, read_direct, sha256_of, size_of,
                     wait_until)
from test_damage import digests
from test_hang import children_of, states_of, stuck, waits_for_a_file  # noqa: F401  a fixture
from test_images import check_mounted, node, padded, partitions

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"

# The large one of which the one in this repository is a part, where it is: the images that the part has not.
LARGE = Golden("golden-A", os.environ["PBSMAP_GOLDEN_A"]) if os.environ.get("PBSMAP_GOLDEN_A") else None
PART = {image.index_sha256 for image in IMAGES}
MORE = [image for image in LARGE.images if image.index_sha256 not in PART] if LARGE else []


def has_nbd():
    subprocess.run(["/sbin/modprobe", "-q", "nbd"], check=False, stderr=subprocess.DEVNULL)
    return os.path.exists("/sys/module/nbd")


@pytest.fixture(scope="module")
def large(base):
    if not LARGE:
        pytest.skip("no large golden datastore here")
    assert len(MORE) + len(PART) == len(LARGE.images), "the one in this repository is no part of it"
    LARGE.unpack(base)


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi1.img")  # a small one: the machine is slow


def sysfs(device, name):
    with open(f"/sys/block/{os.path.basename(device)}/{name}", encoding="ascii") as text:
        return text.read().strip()


def is_connected(device):
    return os.path.exists(f"/sys/block/{os.path.basename(device)}/pid")


def has_reads_on_their_way(device):
    return sysfs(device, "inflight").split()[0] != "0"


def connected():
    return {name for name in os.listdir("/sys/block") if name.startswith("nbd") and is_connected(name)}


def test_a_kernel_without_it_says_what_there_is(s, root, image):
    if has_nbd():
        pytest.skip("this kernel has nbd")
    result = s.fails(FAILED, "map", "--via", "nbd", *image.arguments())
    assert "loop" in result.err and "serve" in result.err and result.err.count("\n") <= 2
    assert s.list() == [] and not s.servers()


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_every_image(s, nbd, image):
    check_image(s, image)


@pytest.mark.parametrize("image", MORE or [None], ids=repr)
def test_every_other_image_of_the_large_datastore(s, nbd, large, image):
    check_image(s, image)


def check_image(s, image):
    device = s.map("--via", "nbd", *image.arguments(), env=image.env())
    assert size_of(device) == padded(image.size)
    assert sha256_of(device, image.size) == image.sha256
    assert sysfs(device, "ro") == "1"
    s.pbsmap("unmap", device)
    assert not is_connected(device) and sysfs(device, "size") == "0"
    assert not s.servers()


def test_it_cannot_be_written(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    before = sha256_of(device)
    with open_fd(device, os.O_RDWR | os.O_DIRECT) as fd, pytest.raises(OSError):
        os.pwrite(fd, bytes(4096), 0)
    assert sha256_of(device) == before
    assert sysfs(device, "backend").startswith("pbsmap:")


@pytest.mark.parametrize("words", [["--via", "nbd", "/dev/nbd5"], ["--via", "nbd", "5"], ["/dev/nbd5"]])
def test_a_device_of_ones_choice(s, nbd, image, words):
    assert s.map(*words[:-1], *image.arguments(), words[-1]) == "/dev/nbd5"
    s.pbsmap("unmap", "/dev/nbd5")
    assert connected() == set()


def test_a_device_that_is_in_use(s, nbd, image):
    s.map(*image.arguments(), "/dev/nbd5")
    result = s.fails(BUSY, "map", *image.arguments(), "/dev/nbd5")
    assert "/dev/nbd5" in result.err
    row, = s.list()
    assert (row["device"], row["via"], row["size"]) == ("/dev/nbd5", "nbd", image.size)


def test_what_is_no_device(s, nbd, image):
    for target in ["/dev/nbdx", "/dev/nbd", "/dev/loop3", "-1", "/dev/nbd99999999"]:
        s.fails(USAGE, "map", "--via", "nbd", *image.arguments(), "--", target)
        assert connected() == set()


@pytest.mark.parametrize("image", [i for i in IMAGES if partitions(i) and i.input.startswith("parts")][:1], ids=repr)
def test_partitions_and_what_is_in_them(s, nbd, image):
    mapped = s.pbsmap("map", "--json", "--via", "nbd", *image.arguments(), env=image.env()).json
    device = mapped["device"]
    parts = partitions(image)
    assert mapped["partitions"] == [node(device, part["n"]) for _, part in parts]
    whole = contents_of(device)
    for number, part in parts:
        assert contents_of(node(device, number)) == whole[part["offset"]:part["offset"] + part["size"]]
        if part["fs"] == "ext4":
            check_mounted(s, node(device, number), part["files"])
    s.pbsmap("unmap", node(device, parts[0][0]))
    assert connected() == set()


def test_who_uses_it_is_named(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    with open_fd(device) as fd:
        result = s.fails(BUSY, "unmap", device)
        assert str(os.getpid()) in result.err
        assert len(os.pread(fd, 4096, 0)) == 4096
    s.pbsmap("unmap", device.removeprefix("/dev/nbd"))
    assert connected() == set() and s.list() == []


def test_a_number_that_fits_two_devices(s, nbd, loop, image):
    device = s.map(*image.arguments())
    number = device.removeprefix("/dev/loop")
    s.map("--via", "nbd", *image.arguments(), number)
    result = s.fails(USAGE, "unmap", number)
    assert "fits several" in result.err
    s.pbsmap("unmap", f"/dev/nbd{number}")
    s.pbsmap("unmap", number)


def test_unmap_by_force_with_a_reader(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    with open_fd(device, os.O_DIRECT):
        s.pbsmap("unmap", "--force", device)
        with pytest.raises(OSError):
            read_direct(device, 0, 4096)
    assert wait_until(lambda: connected() == set())
    assert s.list() == [] and not s.servers()


def test_kill_9_leaves_no_connected_device(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    s.kill(s.mapping(device)["pid"])
    assert wait_until(lambda: connected() == set())
    assert sysfs(device, "size") == "0"
    assert s.list() == []
    assert wait_until(lambda: not s.servers())


def test_kill_9_with_a_reader_hangs_nobody(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    server = s.mapping(device)["pid"]
    with open_fd(device):
        s.kill(server, signal.SIGSTOP)
        assert wait_until(lambda: set(states_of(server)) == {"T"})
        reader = s.start("dd", f"if={device}", "of=/dev/null", "bs=1M", "iflag=direct", stderr=subprocess.DEVNULL)
        assert wait_until(lambda: has_reads_on_their_way(device))
        s.kill(server)
        assert reader.wait(30) == 1
    assert wait_until(lambda: connected() == set())
    assert s.list() == []


def test_the_death_of_the_keeper_takes_it_away(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    keeper, = children_of(s.mapping(device)["pid"])
    s.kill(keeper)
    assert wait_until(lambda: connected() == set())
    assert wait_until(lambda: not s.servers())
    assert s.list() == []


def begin_to_map(s, stuck):
    """
    A `map` whose keeper has connected a device and does not hold it yet; its server process, and its keeper.

    At the first open the kernel looks for partitions.  The last chunk, with the second table, is one that no one else
    asks for, and it hangs.
    """
    archive = "drive-scsi0.img"
    stuck.chunks = list(enumerate(digests(stuck.store, archive=archive)))
    stuck.hang(len(stuck.chunks) - 1)
    mapping = s.start(PBSMAP, "map", "--via", "nbd", "--repository", stuck.store, SNAPSHOT, archive,
                      stderr=subprocess.DEVNULL)
    server, = wait_until(lambda: [pid for pid in children_of(mapping.pid) if waits_for_a_file(pid)])
    keeper, = children_of(server)
    return mapping, server, keeper


def test_kill_9_before_it_is_held_leaves_no_connected_device(s, nbd, stuck):
    """Long before the kernel gives up, which it does when a read may take no longer."""
    mapping, server, _ = begin_to_map(s, stuck)
    assert len(connected()) == 1
    s.kill(server)
    assert mapping.wait(20) == FAILED
    assert wait_until(lambda: connected() == set())


@pytest.fixture
def left(request, s, nbd, stuck):
    """A connected device that nobody holds and nobody serves: its keeper was killed before it was open."""
    request.addfinalizer(lambda: s.pbsmap("list"))  # whatever happens here
    mapping, _, keeper = begin_to_map(s, stuck)
    s.kill(keeper)
    s.kill(stuck.pid, signal.SIGCONT)
    assert mapping.wait(20) == FAILED
    assert wait_until(lambda: not os.path.exists(f"/proc/{keeper}"))
    name, = connected()
    return f"/dev/{name}"


def test_what_a_killed_keeper_left_goes_with_the_next_command(s, left):
    s.pbsmap("list")
    assert connected() == set() and sysfs(left, "size") == "0"


def test_what_a_killed_keeper_left_is_free_for_the_next_one(s, image, left):
    assert s.map("--via", "nbd", *image.arguments(), left) == left
    assert sha256_of(left, image.size) == image.sha256


def test_a_keeper_that_only_seems_to_be_gone_keeps_its_device(s, nbd, image):
    """In a container with numbers of processes of its own, and with another run directory."""
    device = s.map("--via", "nbd", *image.arguments())
    s.run("unshare", "--pid", "--fork", PBSMAP, "list", env={"PBSMAP_RUN_DIR": s.path("other")})
    assert is_connected(device)
    assert len(read_direct(device, 4096, 4096)) == 4096


def test_a_failure_leaves_nothing(s, nbd, golden):
    s.fails(NOT_FOUND, "map", "--via", "nbd", "--repository", golden.store, SNAPSHOT, "drive-scsi9.img")
    assert connected() == set()


def test_many_reads_at_once(s, nbd, image):
    device = s.map("--via", "nbd", *image.arguments())
    whole = contents_of(device)
    readers = [s.start("sha256sum", device, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    sums = {reader.communicate(timeout=120)[0].split()[0] for reader in readers}
    assert sums == {image.sha256}
    assert read_direct(device, 12345 * 512, 65536) == whole[12345 * 512:12345 * 512 + 65536]
