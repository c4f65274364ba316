# SPDX-License-Identifier: Apache-2.0
"""What is stored in a datastore directory, read by a second implementation of the formats, made from their description.

Nothing of src/ is used: libzstd and libcrypto are called directly, the rest is Python.
"""
import bisect
import ctypes
import ctypes.util
import functools
import hashlib
import os
import struct
import zlib

import pxar

PLAIN = bytes.fromhex("42ab3807be8370a1")
ZSTD = bytes.fromhex("31b958426fb6a37f")
ENCRYPTED = bytes.fromhex("7b6785be222d4cf0")
ENCRYPTED_ZSTD = bytes.fromhex("e6591bbf0bbfd80b")
DYNAMIC_INDEX = bytes.fromhex("1c914ea519bab3cd")

zstd = ctypes.CDLL(ctypes.util.find_library("zstd"))
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]
crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
crypto.EVP_aes_256_gcm.restype = ctypes.c_void_p
SET_IV_LENGTH, SET_TAG = 0x9, 0x11


def decompress(data, longest):
    out = ctypes.create_string_buffer(longest)
    n = zstd.ZSTD_decompress(out, longest, data, len(data))
    assert not zstd.ZSTD_isError(n), "zstd"
    return out.raw[:n]


def decrypt(key, iv, tag, data):
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    out = ctypes.create_string_buffer(len(data) + 16)
    n = ctypes.c_int()
    cipher = ctypes.c_void_p(crypto.EVP_aes_256_gcm())
    assert crypto.EVP_DecryptInit_ex(context, cipher, None, None, None) == 1
    assert crypto.EVP_CIPHER_CTX_ctrl(context, SET_IV_LENGTH, 16, None) == 1
    assert crypto.EVP_DecryptInit_ex(context, None, None, key, iv) == 1
    assert crypto.EVP_DecryptUpdate(context, out, ctypes.byref(n), data, len(data)) == 1
    assert crypto.EVP_CIPHER_CTX_ctrl(context, SET_TAG, 16, tag) == 1
    assert crypto.EVP_DecryptFinal_ex(context, ctypes.create_string_buffer(16), ctypes.byref(n)) == 1, "tag"
    crypto.EVP_CIPHER_CTX_free(context)
    return out.raw[:len(data)]


def decode(raw, longest=4 << 20, key=None):
    """(magic, payload) of a blob."""
    magic, crc = raw[:8], struct.unpack("<I", raw[8:12])[0]
    body = raw[44:] if magic in (ENCRYPTED, ENCRYPTED_ZSTD) else raw[12:]
    assert zlib.crc32(body) == crc, "crc32"
    if magic in (ENCRYPTED, ENCRYPTED_ZSTD):
        body = decrypt(key, raw[12:28], raw[28:44], body)
    if magic in (ZSTD, ENCRYPTED_ZSTD):
        body = decompress(body, longest)
    return magic, body


class Stream:
    """The bytes a dynamic index stands for; chunks are not encrypted."""

    def __init__(self, store, index):
        with open(os.path.join(store, index), "rb") as file:
            raw = file.read()
        self.table = raw[4096:]
        assert raw[:8] == DYNAMIC_INDEX and raw[32:64] == hashlib.sha256(self.table).digest()
        entries = list(struct.iter_unpack("<Q32s", self.table))
        self.ends = [end for end, _ in entries]
        self.digests = [digest for _, digest in entries]
        self.size = self.ends[-1]
        self.chunk = functools.lru_cache(4)(lambda n: self._chunk(os.path.join(store, ".chunks"), n))

    def start(self, n):
        return self.ends[n - 1] if n else 0

    def _chunk(self, chunks, n):
        name = self.digests[n].hex()
        with open(os.path.join(chunks, name[:4], name), "rb") as file:
            data = decode(file.read(), 16 << 20)[1]
        assert len(data) == self.ends[n] - self.start(n) and hashlib.sha256(data).digest() == self.digests[n]
        return data

    def numbers(self, off, end):
        """Of the chunks that have a byte of [@off, @end)."""
        return range(bisect.bisect_right(self.ends, off), bisect.bisect_left(self.ends, end) + 1)

    def read(self, off, length):
        assert off + length <= self.size
        data = b"".join(self.chunk(n) for n in self.numbers(off, off + length))
        skip = off - self.start(self.numbers(off, off + length)[0])
        return data[skip:skip + length]


def write_loose(directory, index, data):
    """All of @data as one chunk of a dynamic index in a new directory; the path of the index."""
    digest = hashlib.sha256(data).digest()
    folder = os.path.join(directory, ".chunks", digest.hex()[:4])
    os.makedirs(folder)
    with open(os.path.join(folder, digest.hex()), "wb") as chunk:
        chunk.write(PLAIN + struct.pack("<I", zlib.crc32(data)) + data)
    table = struct.pack("<Q32s", len(data), digest)
    with open(os.path.join(directory, index), "wb") as file:
        file.write((DYNAMIC_INDEX + bytes(24) + hashlib.sha256(table).digest()).ljust(4096, b"\0") + table)
    return os.path.join(directory, index)


class Archive:
    """The entries of a .pxar or .mpxar; remembers which chunks of it were needed."""

    def __init__(self, store, index):
        self.stream = Stream(store, index)
        self.needed = set()

    def look(self, off, length):
        self.needed.update(self.stream.numbers(off, off + length))
        return self.stream.read(off, length)

    def item(self, off):
        """(type, position behind it), without its content"""
        kind, length = struct.unpack("<QQ", self.look(off, 16))
        return kind, off + length

    def root(self):
        kind, end = self.item(0)
        return (end if kind == pxar.VERSION else 0), self.stream.size

    def members(self, directory):
        """[(position, size, hash of the name)] of a directory [start, end), in order: all that its table tells."""
        start, end = directory
        mark, to_start, length = struct.unpack("<QQQ", self.look(end - 24, 24))
        table = end - length
        assert mark == pxar.MARK and self.item(table) == (pxar.GOODBYE, end)
        assert self.item(start)[0] == pxar.ENTRY and table - to_start == (0 if end == self.stream.size else start)
        rows = list(struct.iter_unpack("<QQQ", self.look(table + 16, length - 40)))
        for i, (name_hash, _, _) in enumerate(rows[1:], 1):
            parent = rows[(i - 1) // 2][0]
            assert name_hash <= parent if i % 2 else name_hash >= parent
        return sorted((table - back, size, name_hash) for name_hash, back, size in rows)

    def name(self, pos):
        """(name, position of the entry)"""
        kind, entry = self.item(pos)
        assert kind == pxar.FILENAME
        return self.look(pos + 16, entry - pos - 17), entry

    def is_directory(self, entry):
        return struct.unpack("<Q", self.look(entry + 16, 8))[0] & 0o170000 == 0o040000

    def content(self, entry):
        """(is in the payload stream, position of the data, size) of a regular file without attributes"""
        pos = self.item(entry)[1] + 16
        kind, end = self.item(pos - 16)
        if kind == pxar.PAYLOAD:
            return False, pos, end - pos
        off, size = struct.unpack("<QQ", self.look(pos, 16))
        assert kind == pxar.REFERENCE
        return True, off + 16, size

    def directory(self, path):
        """Goes down to @path, a list of names."""
        found = self.root()
        for part in path:
            pos, size = next(row[:2] for row in self.members(found) if row[2] == pxar.siphash(part))
            name, entry = self.name(pos)
            assert name == part
            found = entry, pos + size
        return found


def needed_for_listing(store, index, path):
    """Numbers of the chunks on the way to a directory's files, and of those with their entries."""
    archive = Archive(store, index)
    for pos, _, _ in archive.members(archive.directory(path)):
        archive.content(archive.name(pos)[1])
    return archive.needed
