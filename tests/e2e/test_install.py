# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts where, and what the installed udev rule says of devices."""
import glob
import os
import re
import shutil
import stat
import zlib

import pytest

from harness import BUILD, MIB, TOP

RULE = "59-pbsmap.rules"

# Own rules directory and /run, so that nothing of this machine decides, or is changed.
UDEV_TEST = """
rules=$1; shift
for dir in /etc/udev/rules.d /usr/local/lib/udev/rules.d; do [ ! -d $dir ] || mount -t tmpfs none $dir; done
mount --bind "$rules" /usr/lib/udev/rules.d
mount -t tmpfs none /run
mount -t tmpfs none /dev/block
udevadm test --action="$1" "/sys/class/block/$2" 2>&1
"""


@pytest.fixture
def tree(s):
    if not shutil.which("meson"):
        pytest.skip("no meson")
    s.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", s.path("tree"))
    return s.path("tree")


def found(tree, pattern):
    paths = glob.glob(os.path.join(tree, "**", pattern), recursive=True)
    assert len(paths) == 1, f"{pattern}: {paths}"
    return paths[0]


def test_program_manual_and_rule_are_installed(s, tree):
    program = found(tree, "bin/pbsmap")
    assert stat.S_IMODE(os.stat(program).st_mode) == 0o755
    assert s.run(program, "--version").out.startswith("pbsmap ")
    has_plugin = os.path.exists(os.path.join(BUILD, "src", "nbdkit", "nbdkit-pbs-plugin.so"))
    for page in os.listdir(os.path.join(TOP, "docs", "man")):
        if has_plugin or not page.startswith("nbdkit-"):
            found(tree, f"man1/{page}")
    if has_plugin:
        assert "/nbdkit/plugins/" in found(tree, "nbdkit-pbs-plugin.so")
    found(tree, "sysusers.d/pbsmap.conf")
    rule = found(tree, f"udev/rules.d/{RULE}")
    assert stat.S_IMODE(os.stat(rule).st_mode) == 0o644
    assert not rule.startswith(os.path.join(tree, "usr", "local")), "udev does not look there"
    for script in ("bash-completion/completions/pbsmap", "zsh/site-functions/_pbsmap",
                   "fish/vendor_completions.d/pbsmap.fish"):
        assert stat.S_IMODE(os.stat(found(tree, f"share/{script}")).st_mode) == 0o644


@pytest.fixture
def udev(s, own_mounts):
    """Properties of a device after an event, by our rule alone."""
    if not shutil.which("udevadm") or not os.path.isdir("/usr/lib/udev/rules.d"):
        pytest.skip("no udev")
    was_there = os.path.isdir("/dev/block")
    os.makedirs("/dev/block", exist_ok=True)
    os.mkdir(s.path("rules"))
    shutil.copy(os.path.join(TOP, "udev", RULE), s.path("rules"))

    def event(device, action="change"):
        out = s.run("unshare", "--mount", "sh", "-euc", UDEV_TEST, "sh", s.path("rules"), action,
                    os.path.basename(device)).out
        complaints = [line for line in out.splitlines() if f"{RULE}:" in line and "Importing properties" not in line]
        assert f"rules.d/{RULE}" in out and not complaints, out
        return dict(re.findall(r"^([A-Z_]+)=(.*)$", out, re.M))
    yield event
    if not was_there:
        os.rmdir("/dev/block")


def physical_volume():
    """Enough of one: the label in sector 1.  libblkid looks for none in a floppy disk."""
    label = bytearray(512)
    label[0:8] = b"LABELONE"
    label[8:16] = (1).to_bytes(8, "little")
    label[20:24] = (32).to_bytes(4, "little")
    label[24:32] = b"LVM2 001"
    label[32:64] = b"0123456789abcdefghijklmnopqrstuv"
    crc = zlib.crc32(label[20:], 0xf597a6cf ^ 0xffffffff) ^ 0xffffffff
    label[16:20] = crc.to_bytes(4, "little")
    return bytes(512) + label + bytes(8 * MIB - 1024)


def is_left_alone(properties):
    return properties.get("UDISKS_IGNORE") == "1" and \
        properties.get("UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG") == "1"


def test_udev_leaves_our_devices_alone(s, udev, loop, golden):
    image = golden.image("vm/100/2024-06-03T00:00:00Z", "drive-scsi0.img")
    device = s.map(*image.arguments())
    assert is_left_alone(udev(device))
    partition = udev(f"{device}p1", "add")
    assert is_left_alone(partition)
    # A file system may be looked at, and mounted by systemd
    assert partition["ID_FS_TYPE"] == "ext4"
    assert "SYSTEMD_READY" not in partition and "DM_UDEV_DISABLE_OTHER_RULES_FLAG" not in partition
    s.pbsmap("unmap", device)


def test_udev_activates_no_volume_group_of_a_backup(s, udev, loop, mkstore):
    with open(s.path("raw"), "wb") as raw:
        raw.write(physical_volume())
    s.mkstore(s.path("made"), "vm/1/2026-01-02T03:04:05Z", f"disk.img={s.path('raw')}")
    device = s.map("--repository", s.path("made"), "vm/1", "disk.img")
    properties = udev(device)
    assert is_left_alone(properties)
    assert properties["ID_FS_TYPE"] == "LVM2_member"
    # What 69-lvm.rules, and what 64-md-raid-assembly.rules and 64-btrfs.rules ask first
    assert properties["DM_UDEV_DISABLE_OTHER_RULES_FLAG"] == "1"
    assert properties["SYSTEMD_READY"] == "0"
    s.pbsmap("unmap", device)


def test_udev_treats_other_loop_devices_as_ever(s, udev, loop):
    with open(s.path("raw"), "wb") as raw:
        raw.write(physical_volume())
    device = s.run("losetup", "--find", "--show", "--read-only", s.path("raw")).out.strip()
    try:
        properties = udev(device)
        assert properties["DEVNAME"] == device
        assert not set(properties) & {"UDISKS_IGNORE", "DM_UDEV_DISABLE_OTHER_RULES_FLAG", "SYSTEMD_READY",
                                      "UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG", "ID_FS_TYPE"}
    finally:
        s.run("losetup", "--detach", device)
