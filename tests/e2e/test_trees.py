# SPDX-License-Identifier: Apache-2.0
"""Every file archive of the golden datastores has in it what went in, each way it can be looked at."""
import base64
import hashlib
import json
import os
import shutil
import stat
import struct
import tarfile

import pytest

from golden import TREES
from harness import PBSMAP

TYPES = {"file": "f", "directory": "d", "symlink": "l", "block": "b", "char": "c", "fifo": "p", "socket": "s"}
MODES = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFBLK: "b", stat.S_IFCHR: "c",
         stat.S_IFIFO: "p", stat.S_IFSOCK: "s"}
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
TAGS = {1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}


def first_of_each():
    """Of each datastore, where one is like the other."""
    found = {(tree.golden.name, tree.input): tree for tree in reversed(TREES)
             if tree.input in ("tree", "tree-names", "tree-links")}
    return sorted(found.values(), key=TREES.index)


def acl_text(value):
    """As the manifests have it: user:rwx, user:1000:r--."""
    version, = struct.unpack_from("<I", value)
    assert version == 2
    entries = []
    for tag, bits, number in struct.iter_unpack("<HHI", value[4:]):
        name = TAGS[tag] + (f":{number}" if tag in (2, 8) else "")
        entries.append(name + ":" + "".join(c if bits & b else "-" for c, b in zip("rwx", (4, 2, 1))))
    return entries


def attributes(values):
    """@values: name to bytes."""
    found = {}
    lists = {"acl": ACCESS, "default_acl": DEFAULT}
    for key, name in lists.items():
        if name in values:
            found[key] = acl_text(values[name])
    others = {name: value.hex() for name, value in values.items() if name not in lists.values()}
    return {**found, **({"xattr_hex": others} if others else {})}


def expected(row, *without):
    keys = {"gid", "mode", "mtime_ns", "uid", "type", "size", "sha256", "target", "rdev", "acl", "default_acl",
            "xattr_hex", "nlink"}
    row = {key: value for key, value in row.items() if key in keys - set(without)}
    if row["type"] not in "fl":
        row.pop("size", None)
    if row["type"] != "f":
        row.pop("nlink", None)
    return row


def check_links(manifest, inode_of):
    """Names of one group are one file, and no others are."""
    groups = {}
    for path, row in manifest.items():
        if row["type"] == "f":
            groups.setdefault(row.get("hardlink_group", path.hex()), set()).add(inode_of(path))
    assert all(len(inodes) == 1 for inodes in groups.values())
    assert len(set.union(*groups.values())) == len(groups)


def compare(found, manifest, *without):
    assert set(found) == set(manifest)
    for path, row in manifest.items():
        want = expected(row, *without)
        if "mode" in want and row["type"] == "l":
            want.pop("mode")
            found[path].pop("mode", None)
        assert found[path] == want, path


# -- ls and cat --------------------------------------------------------------------------------


def name_of(row, key="path"):
    return base64.b64decode(row[f"{key}_b64"]) if f"{key}_b64" in row else row[key].encode()


def from_json(row):
    found = {"type": TYPES[row["type"]], "mode": row["mode"], "uid": row["uid"], "gid": row["gid"],
             "mtime_ns": row["mtime"] * 10**9 + row["mtime_nsec"]}
    if row["type"] == "file":
        found.update(size=row["size"], nlink=row["nlink"])
    if row["type"] == "symlink":
        target = name_of(row, "target")
        found.update(target=target.decode(errors="surrogateescape"), size=len(target))
    if "device" in row:
        found["rdev"] = row["device"]
    xattrs = {x["name"]: base64.b64decode(x["value_b64"]) for x in row.get("xattrs", [])}
    return {**found, **attributes(xattrs)}


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_ls(s, tree):
    rows = s.pbsmap("ls", "-R", "--json", "--exact-links", *tree.arguments(), env=tree.env()).json
    manifest = tree.manifest()
    compare({name_of(row): from_json(row) for row in rows}, manifest, "sha256")
    inodes = {name_of(row): row["inode"] for row in rows}
    assert len(inodes) == len(rows)
    check_links(manifest, inodes.__getitem__)


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_cat(s, tree):
    files = [(path, row) for path, row in tree.manifest().items() if row["type"] == "f"]
    for path, row in files[::max(1, len(files) // 8)]:
        out = s.path("out")
        s.run("sh", "-c", 'exec "$0" "$@" >"$OUT"', PBSMAP, "cat", *tree.arguments(), os.fsdecode(path),
              env={**tree.env(), "OUT": out})
        with open(out, "rb") as data:
            assert hashlib.sha256(data.read()).hexdigest() == row["sha256"], path


# -- extract -----------------------------------------------------------------------------------


def paths_below(top):
    """Bytes, relative, the top itself as '.'."""
    top = os.fsencode(top)
    for directory, names, files in os.walk(top):
        yield os.path.relpath(directory, top)
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        for name in files + links:
            yield os.path.relpath(os.path.join(directory, name), top)


def from_file(path):
    st = os.lstat(path)
    found = {"type": MODES[stat.S_IFMT(st.st_mode)], "mode": f"{stat.S_IMODE(st.st_mode):04o}", "uid": st.st_uid,
             "gid": st.st_gid, "mtime_ns": st.st_mtime_ns}
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as data:
            found.update(size=st.st_size, nlink=st.st_nlink, sha256=hashlib.sha256(data.read()).hexdigest())
    if stat.S_ISLNK(st.st_mode):
        target = os.readlink(path)
        found.update(target=os.fsdecode(target), size=len(os.fsencode(target)))
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        found["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    values = {name: os.getxattr(path, name, follow_symlinks=False)
              for name in os.listxattr(path, follow_symlinks=False)}
    return {**found, **attributes(values)}


def check_directory(top, manifest):
    found = {path: from_file(os.path.join(os.fsencode(top), path)) for path in paths_below(top)}
    compare(found, manifest)
    check_links(manifest, lambda path: os.lstat(os.path.join(os.fsencode(top), path)).st_ino)


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_extract_to_a_directory(s, root, tree):
    target = s.path("out")
    s.pbsmap("extract", *tree.arguments(), "--to", target, env=tree.env())
    check_directory(target, tree.manifest())
    for path, row in tree.manifest().items():
        if path.endswith((b"zeros2M", b"sparse30M")):
            st = os.lstat(os.path.join(os.fsencode(target), path))
            assert st.st_blocks * 512 < st.st_size / 2


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_mount(s, root, tree):
    target = s.path("mnt")
    out = s.pbsmap("mount", "--exact-links", *tree.arguments(), target, env=tree.env()).out
    assert out == target + "\n"
    check_directory(target, tree.manifest())
    if tree in first_of_each() and not s.server:
        check_directory(target, tree.manifest())  # and out of what the kernel keeps, whatever that came from
    s.pbsmap("umount", target)
    assert not os.path.exists(target)


COPY = {
    "cp": ["cp", "-a", "SOURCE/.", "TARGET"],
    "rsync": ["rsync", "-aHAX", "SOURCE/", "TARGET"],
    "tar": ["sh", "-c", "all='--acls --xattrs --xattrs-include=* --numeric-owner'; "
            "tar $all --warning=no-file-ignored -C SOURCE -cf - . | "
            "tar $all --same-permissions --warning=no-timestamp --delay-directory-restore -C TARGET -xf -"],
}


@pytest.mark.parametrize("tree", first_of_each(), ids=repr)
def test_a_mount_can_be_copied(s, root, tree):
    """By the tools that people have for it, without a word."""
    source = s.path("mnt")
    s.pbsmap("mount", "--exact-links", *tree.arguments(), source, env=tree.env())
    for tool, words in COPY.items():
        assert shutil.which(tool), f"there is no {tool}"
        target = s.path(tool)
        os.mkdir(target)
        result = s.run(*[word.replace("SOURCE", source).replace("TARGET", target) for word in words])
        assert (result.out, result.err) == ("", ""), tool
        manifest = tree.manifest()
        # A tar archive has no sockets.
        check_directory(target, {path: row for path, row in manifest.items() if tool != "tar" or row["type"] != "s"})
    s.pbsmap("umount", source)


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_extract_as_a_tar_archive(s, root, tree):
    archive, target = s.path("tar"), s.path("out")
    s.pbsmap("extract", *tree.arguments(), "--tar", archive, env=tree.env())
    os.mkdir(target)
    s.run("tar", "--extract", "--numeric-owner", "--same-permissions", "--acls", "--xattrs", "--xattrs-include=*",
          "--warning=no-timestamp", "--delay-directory-restore", "--directory", target, "--file", archive)
    # A tar archive has no sockets.
    manifest = {path: row for path, row in tree.manifest().items() if row["type"] != "s"}
    check_directory(target, manifest)
    with tarfile.open(archive) as tar:
        names = [member.name for member in tar]
    assert len(names) == len(set(names)) == len(manifest)
