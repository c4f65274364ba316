# SPDX-License-Identifier: Apache-2.0
"""Every disk image of the golden datastores comes out byte for byte, each way it can be shown."""
import os

import pytest

from golden import IMAGES
from harness import contents_of, open_fd, sha256_of, size_of

SECTOR = 512


def padded(size):
    return -(-size // SECTOR) * SECTOR


def partitions(image):
    """(number or None, its table row) of each file system inside."""
    info = image.golden.file_systems.get(image.input, {})
    parts = info.get("parts", [])
    return [(part["n"], part) for part in parts] if parts else [(None, info)] if info else []


def node(device, number):
    return device if number is None else f"{device}p{number}"


WITH_FS = [image for image in IMAGES if partitions(image)]


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_loop(s, loop, image):
    device = s.map(*image.arguments(), env=image.env())
    assert size_of(device) == padded(image.size)
    assert sha256_of(device, image.size) == image.sha256
    with open_fd(device) as fd:
        assert os.pread(fd, SECTOR, image.size) == bytes(padded(image.size) - image.size)
    s.pbsmap("unmap", device)


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_file(s, image):
    path = s.path("image")
    assert s.map("--via", "file", *image.arguments(), path, env=image.env()) == path
    assert os.stat(path).st_size == image.size
    assert sha256_of(path) == image.sha256
    s.pbsmap("unmap", path)


@pytest.mark.parametrize("image", WITH_FS, ids=repr)
def test_file_systems(s, loop, image):
    device = s.map(*image.arguments(), env=image.env())
    for number, part in partitions(image):
        if part["fs"] == "ext4":
            check_mounted(s, node(device, number), part["files"])
        elif part["fs"] == "vfat":
            check_vfat(s, node(device, number), part["files"])
    s.pbsmap("unmap", device)


def check_mounted(s, device, files):
    target = s.mount(device, "ro,noload")
    paths = [os.path.join(top, name) for top, _, names in os.walk(target) for name in names]
    found = {os.path.relpath(path, target) for path in paths if not os.path.islink(path)}
    assert found == set(files)
    for name, sha256 in files.items():
        assert sha256_of(os.path.join(target, name)) == sha256, name
    s.umount(target)


def check_vfat(s, device, files):
    """mtools, because many kernels have no vfat."""
    target = s.path("vfat")
    os.mkdir(target)
    s.run("mcopy", "-s", "-n", "-i", device, "::*", target)
    for name, sha256 in files.items():
        assert sha256_of(os.path.join(target, name)) == sha256, name


@pytest.mark.parametrize("image", [i for i in IMAGES if partitions(i) and i.input.startswith("parts")][:1], ids=repr)
def test_partition_nodes_show_their_range(s, loop, image):
    mapped = s.pbsmap("map", "--json", *image.arguments(), env=image.env()).json
    device = mapped["device"]
    whole = contents_of(device)
    parts = [part for _, part in partitions(image)]
    assert len(mapped["partitions"]) == len(parts)
    for part in parts:
        part_node = node(device, part["n"])
        assert contents_of(part_node) == whole[part["offset"]:part["offset"] + part["size"]]
