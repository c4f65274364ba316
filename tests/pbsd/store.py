# SPDX-License-Identifier: Apache-2.0
"""A datastore directory as the server shows it: namespaces, groups, snapshots, files, indexes, chunks.

Nothing here writes.  A snapshot that is removed over the control channel is only hidden.
"""
import ctypes
import ctypes.util
import datetime
import fcntl
import json
import os
import re
import shutil
import threading

from answer import FileBody, Refused

TYPES = ("vm", "ct", "host")
SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
TIME = "%Y-%m-%dT%H:%M:%SZ"
TIME_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
ARCHIVE = re.compile(r".*\.(fidx|didx|blob)\Z")
MANIFEST = "index.json.blob"

PLAIN_BLOB = bytes.fromhex("42ab3807be8370a1")
ZSTD_BLOB = bytes.fromhex("31b958426fb6a37f")
FIXED_INDEX = bytes.fromhex("2f7f41ed91fd0fcd")
DYNAMIC_INDEX = bytes.fromhex("1c914ea519bab3cd")
HEADER_SIZE = 4096  # of both kinds of index
MAX_MANIFEST = 16 << 20

zstd = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]


class HandlerCrash(Exception):
    """Where the real server's handler panics: the stream is reset, the connection lives on."""


def no_entry():
    return Refused(400, "ENOENT: No such file or directory")


def time_of(name):
    return int(datetime.datetime.strptime(name, TIME).replace(tzinfo=datetime.timezone.utc).timestamp())


def name_of(time):
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime(TIME)


def subdirectories(path, pattern):
    try:
        with os.scandir(path) as entries:
            return [e.name for e in entries if pattern.match(e.name) and e.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_text(path):
    try:
        with open(path, encoding="utf-8") as text:
            return text.read()
    except FileNotFoundError:
        return ""


def first_line(text):
    return text.split("\n", 1)[0]


def blob_payload(raw):
    """What is in a blob that is not encrypted."""
    magic, body = raw[:8], raw[12:]
    if magic == PLAIN_BLOB:
        return body
    if magic != ZSTD_BLOB:
        raise ValueError("no plain blob")
    room = ctypes.create_string_buffer(MAX_MANIFEST)
    n = zstd.ZSTD_decompress(room, len(room), body, len(body))
    if zstd.ZSTD_isError(n):
        raise ValueError("zstd cannot read it")
    return room[:n]


class Datastore:
    def __init__(self, name, base):
        self.name = name
        self.base = os.path.realpath(base)
        self.lock = threading.Lock()
        self.removed = set()  # snapshot directories; guarded by lock
        self.maintenance = None  # (mode, text)

    # Places

    def namespace_path(self, ns):
        return os.path.join(self.base, *(part for name in filter(None, ns.split("/")) for part in ("ns", name)))

    def snapshot_path(self, ns, kind, group, time):
        return os.path.join(self.namespace_path(ns), kind, group, name_of(time))

    def has_snapshot(self, path):
        with self.lock:
            return path not in self.removed and os.path.isdir(path)

    def remove(self, ns, snapshot, force=False):
        """As prune would: refused while somebody reads it, unless the reader is not asked."""
        path = os.path.join(self.namespace_path(ns), snapshot)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as why:
            if not force:
                raise ValueError(f'unable to acquire lock on snapshot directory "{path}"') from why
        finally:
            os.close(fd)
        with self.lock:
            self.removed.add(path)

    def chunk(self, digest):
        path = os.path.join(self.base, ".chunks", digest[:4], digest)
        try:
            return FileBody(path)
        except OSError as why:
            raise Refused(400, f'reading file "{path}" failed: {os_error(why)}') from why

    # Lists, as the API shows them

    def status(self):
        usage = shutil.disk_usage(self.base)
        return {"avail": usage.free, "total": usage.total, "used": usage.used}

    def namespaces(self, parent, depth):
        """Full names, the parent first."""
        path = self.namespace_path(parent)
        if not os.path.isdir(path):
            raise no_entry()
        found = [parent]
        if depth:
            for name in subdirectories(os.path.join(path, "ns"), SAFE_ID):
                found += self.namespaces(f"{parent}/{name}" if parent else name, depth - 1)
        return found

    def group_paths(self, ns):
        """(type, id, path) of every group."""
        base = self.namespace_path(ns)
        if not os.path.isdir(base):
            raise no_entry()
        return [(kind, group, os.path.join(base, kind, group))
                for kind in TYPES for group in subdirectories(os.path.join(base, kind), SAFE_ID)]

    def snapshot_names(self, group):
        return sorted(name for name in subdirectories(group, TIME_NAME)
                      if self.has_snapshot(os.path.join(group, name)))

    def groups(self, ns, is_visible):
        return [self.group(kind, group, path) for kind, group, path in self.group_paths(ns)
                if is_visible(owner_of(path)) and self.snapshot_names(path)]

    def group(self, kind, group, path):
        names = self.snapshot_names(path)
        row = {"backup-count": len(names), "backup-id": group, "backup-type": kind,
               "files": archives_in(os.path.join(path, names[-1])), "last-backup": time_of(names[-1]),
               "owner": owner_of(path)}
        notes = first_line(read_text(os.path.join(path, "notes")))
        return {"comment": notes, **row} if notes else row

    def snapshots(self, ns, kind, group, is_visible):
        return [self.snapshot(k, g, path, name) for k, g, path in self.group_paths(ns)
                if kind in (None, k) and group in (None, g) and is_visible(owner_of(path))
                for name in self.snapshot_names(path)]

    def snapshot(self, kind, group, path, name):
        row = {"backup-type": kind, "backup-id": group, "backup-time": time_of(name)}
        directory = os.path.join(path, name)
        try:
            manifest, files = manifest_files(directory)
        except (OSError, ValueError):
            row["files"] = [{"filename": file} for file in archives_in(directory) if file != MANIFEST]
        else:
            row.update(notes_of(manifest.get("unprotected") or {}))
            row["files"] = files
            row["size"] = sum(file.get("size", 0) for file in files)
        is_protected = os.path.exists(os.path.join(directory, ".protected"))
        return {**row, "owner": owner_of(path), "protected": is_protected}

    def owner(self, snapshot):
        return owner_of(os.path.dirname(snapshot))

    def files(self, path):
        try:
            return manifest_files(path)[1]
        except (OSError, ValueError) as why:
            raise no_entry() from why


def os_error(why):
    return f"{why.strerror} (os error {why.errno})"


def notes_of(unprotected):
    """What a list says of the part of a manifest that is not signed."""
    found = {"comment": first_line(unprotected.get("notes") or ""), "verification": unprotected.get("verify_state"),
             "fingerprint": unprotected.get("key-fingerprint")}
    return {name: value for name, value in found.items() if value}


def owner_of(group):
    return first_line(read_text(os.path.join(group, "owner")))


def archives_in(directory):
    return [name for name in os.listdir(directory) if ARCHIVE.match(name)]


def manifest_files(directory):
    """The manifest of a snapshot, and the list of its files: those it names, itself, and what else is there."""
    with open(os.path.join(directory, MANIFEST), "rb") as file:
        raw = file.read()
    manifest = json.loads(blob_payload(raw))
    files = [{"filename": file["filename"], "crypt-mode": file.get("crypt-mode", "none"), "size": file["size"]}
             for file in manifest["files"]]
    files.append({"filename": MANIFEST, "crypt-mode": "sign-only" if manifest.get("signature") else "none",
                  "size": len(raw)})
    known = {file["filename"] for file in files}
    return manifest, files + [{"filename": name} for name in archives_in(directory) if name not in known]


class Session:
    """A snapshot that is being read: its shared lock, and the chunks its reader may have."""

    def __init__(self, store, path, version):
        self.store = store
        self.path = path
        self.version = version
        self.digests = set()
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as why:
            self.close()
            raise Refused(400, "unable to acquire shared snapshot lock" if version == 4
                          else "locked by another operation") from why

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def download(self, name):
        """A file of the snapshot; an index allows its chunks from now on."""
        path = os.path.join(self.path, name)
        if name.endswith(".blob"):
            return open_blob(self.store, path)
        if not name.endswith((".fidx", ".didx")):
            raise Refused(400, f'unknown archive type: "{name}"')
        is_fixed = name.endswith(".fidx")
        try:
            if not self.store.has_snapshot(self.path):
                raise FileNotFoundError(2, "No such file or directory")
            with open(path, "rb") as file:
                index = file.read()
            self.digests |= digests_of(index, is_fixed, self.version)
            return FileBody(path)
        except (OSError, ValueError) as why:
            text = os_error(why) if isinstance(why, OSError) else why
            kind = "fixed" if is_fixed else "dynamic"
            raise Refused(400, f'Unable to open {kind} index "{path}" - {text}') from why

    def chunk(self, digest):
        if digest not in self.digests:
            raise Refused(401, f"download chunk {digest} not allowed")
        return self.store.chunk(digest)


def open_blob(store, path):
    try:
        if not store.has_snapshot(os.path.dirname(path)):
            raise FileNotFoundError
        return FileBody(path)
    except FileNotFoundError as why:
        raise Refused(404, f'open file "{path}" failed - not found') from why


def digests_of(index, is_fixed, version):
    """The digests an index names, in hex, with the server's own checks of its header."""
    if len(index) < HEADER_SIZE:
        raise ValueError("index too small")
    if index[:8] != (FIXED_INDEX if is_fixed else DYNAMIC_INDEX):
        raise ValueError("got unknown magic number")
    table = index[HEADER_SIZE:]
    if not is_fixed:
        if len(table) % 40:
            raise ValueError("got unexpected file size")
        return {table[off + 8:off + 40].hex() for off in range(0, len(table), 40)}
    size, chunk_size = (int.from_bytes(index[off:off + 8], "little") for off in (64, 72))
    if version == 4 and (not chunk_size or chunk_size & (chunk_size - 1)):
        raise ValueError(f"got non-power-of-two chunk size: {chunk_size}")
    if not chunk_size:
        raise HandlerCrash
    if len(table) != 32 * -(-size // chunk_size):
        raise ValueError("got unexpected file size")
    return {table[off:off + 32].hex() for off in range(0, len(table), 32)}
