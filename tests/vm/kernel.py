# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel out of its package: unpacked into build/vm, never installed.

    build/vm/kernel/vmlinux                 uncompressed, as qemu boots it fastest
    build/vm/kernel/lib/modules/VERSION/    those of UNPACKED, and what modprobe needs

The initramfs holds busybox, the first process's script and the few modules that the root file system takes.
"""
import glob
import lzma
import os
import re
import shutil
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIRECTORY = os.path.join(TOP, "build", "vm", "kernel")
VMLINUX = os.path.join(DIRECTORY, "vmlinux")
PACKAGE = "linux-image-amd64"  # the cloud kernel has no 9p
BOOT_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
UNPACKED = ["./boot/vmlinuz-*", "./lib/modules/*/modules.*",
            *(f"./lib/modules/*/kernel/{name}" for name in (
                "arch/x86/crypto", "crypto", "lib", "drivers/block", "drivers/char/virtio_console.ko*",
                "drivers/md/dm-mod.ko*", "drivers/virtio", "fs", "net/9p"))]
ENV = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


class Failed(Exception):
    """No kernel, and why."""


def run(*command, **more):
    return subprocess.run(command, env=ENV, check=False, text=True, **{"stdin": subprocess.DEVNULL, **more})


def shows(package):
    return run("apt-cache", "show", "--no-all-versions", package, capture_output=True).stdout


def package_of_the_kernel():
    """What the package that is always the newest one depends on."""
    found = re.search(r"^Depends:.*?\b(linux-image-\d\S*)", shows(PACKAGE), re.MULTILINE)
    return found and found[1]


def download(directory):
    """The path of the .deb; package lists that are missing or too old are fetched first."""
    for last_try in (False, True):
        name = package_of_the_kernel()
        if name and run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, cwd=directory,
                        stdout=subprocess.DEVNULL, stderr=None if last_try else subprocess.DEVNULL).returncode == 0:
            return glob.glob(os.path.join(directory, "*.deb"))[0]
        if not last_try:
            run("apt-get", "-qq", "update", stdout=subprocess.DEVNULL)
    raise Failed(f"apt-get cannot download {name or PACKAGE}")


def unpack(package, directory):
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    with files:
        # A pattern that matches nothing makes tar fail: what counts is what is there afterwards.
        run("tar", "-x", "-C", directory, "--wildcards", *UNPACKED, stdin=files.stdout, stderr=subprocess.DEVNULL)


def decompressed(image):
    """
    The kernel proper, where it is compressed as Debian 12 does it; else the image as it is, slower to start.

    Source: Linux Documentation/x86/boot.rst, setup_sects, payload_offset and payload_length.
    """
    def field(at, size):
        return int.from_bytes(image[at:at + size], "little")
    start = (field(0x1f1, 1) + 1) * 512 + field(0x248, 4)
    payload = image[start:start + field(0x24c, 4) - 4]  # the last four bytes are its size
    return lzma.decompress(payload, lzma.FORMAT_XZ) if payload.startswith(b"\xfd7zXZ") else image


def fetch():
    """Fills DIRECTORY, once."""
    if os.path.exists(VMLINUX):
        return
    os.makedirs(os.path.dirname(DIRECTORY), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(DIRECTORY)) as scratch:
        unpack(download(scratch), scratch)
        images = glob.glob(os.path.join(scratch, "boot", "vmlinuz-*"))
        if not images or run("depmod", "-b", scratch, os.path.basename(images[0])[8:]).returncode != 0:
            raise Failed(f"{PACKAGE} is not as expected")
        done = os.path.join(scratch, "done")
        os.makedirs(done)
        os.rename(os.path.join(scratch, "lib"), os.path.join(done, "lib"))
        with open(images[0], "rb") as image, open(os.path.join(done, "vmlinux"), "wb") as out:
            out.write(decompressed(image.read()))
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        os.rename(done, DIRECTORY)


def modules_directory():
    return glob.glob(os.path.join(DIRECTORY, "lib", "modules", "*"))[0]


def boot_modules():
    """Paths below modules_directory(), each behind those it needs."""
    needs = {}
    with open(os.path.join(modules_directory(), "modules.dep"), encoding="utf-8") as rows:
        for path, others in (row.rstrip("\n").split(":") for row in rows):
            needs[path] = others.split()
    by_name = {os.path.basename(path).split(".")[0].replace("-", "_"): path for path in needs}
    order = []
    for name in BOOT_MODULES:
        path = by_name[name]
        order += [one for one in [*reversed(needs[path]), path] if one not in order]
    return order


def cpio_entry(name, mode, data=b""):
    """Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return b"".join(part + b"\0" * (-len(part) % 4) for part in (head, data))


def initramfs(busybox, files):
    """@files: name: contents, put into /vm."""
    entries = [cpio_entry(name, 0o40755) for name in ("bin", "vm", "modules")]
    for number, path in enumerate(boot_modules()):
        with open(os.path.join(modules_directory(), path), "rb") as module:
            entries.append(cpio_entry(f"modules/{number:02}.ko", 0o100644, module.read()))
    with open(busybox, "rb") as program:
        entries.append(cpio_entry("bin/busybox", 0o100755, program.read()))
    for name, data in files.items():
        entries.append(cpio_entry(f"vm/{name}", 0o100755, data))
    entries.append(cpio_entry("init", 0o120777, b"vm/init"))
    return b"".join([*entries, cpio_entry("TRAILER!!!", 0)])
