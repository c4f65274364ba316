#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads what mkstore wrote with a second implementation of the formats, made from their description only.

Nothing of src/ is used: libzstd and libcrypto are called directly, the rest is Python.
    check_mkstore.py MKSTORE
"""
import glob
import hashlib
import hmac
import json
import os
import random
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

import pxar
from stored import ENCRYPTED, ENCRYPTED_ZSTD, PLAIN, ZSTD, Archive, Stream, decode

MKSTORE = None
SNAPSHOT = "vm/100/2026-01-02T03:04:05Z"
CHUNK = 4 << 20
BACKUP = 34

FIXED_INDEX = bytes.fromhex("2f7f41ed91fd0fcd")

KEY = bytes(range(32))
ID_KEY = hashlib.pbkdf2_hmac("sha256", KEY, b"_id_key", 10)
FINGERPRINT = hashlib.sha256(hashlib.sha256(b"Proxmox Backup Encryption Key Fingerprint").digest() + ID_KEY).digest()
KEY_FILE = {"kdf": None, "created": "2024-01-02T03:04:05Z", "modified": "2024-01-02T03:04:05Z",
            "data": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}

def read(*names):
    with open(os.path.join(*names), "rb") as file:
        return file.read()


def read_index(raw):
    """(size, chunk size, digests, csum)"""
    assert raw[:8] == FIXED_INDEX
    size, chunk_size = struct.unpack("<QQ", raw[64:80])
    assert raw[80:4096] == bytes(4016)
    table = raw[4096:]
    assert len(table) == 32 * -(-size // chunk_size)
    csum = hashlib.sha256(table).digest()
    assert raw[32:64] == csum
    assert struct.unpack("<q", raw[24:32])[0] == 1767323045
    return size, chunk_size, [table[i:i + 32] for i in range(0, len(table), 32)], csum


class Mkstore(unittest.TestCase):
    def setUp(self):
        # 65536 directories are made in a moment in memory, and in half a minute on a disk.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        directory = tempfile.TemporaryDirectory(prefix="mkstore-", dir=memory)
        self.addCleanup(directory.cleanup)
        self.path = lambda *names: os.path.join(directory.name, *names)
        self.store = self.path("store")
        self.write("key.json", json.dumps(KEY_FILE).encode())
        self.write("vm.conf", b"name: test\n" * 20)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)

    def write_image(self):
        """Words, zeros, noise, the same words again, a hole, and a short piece at the end."""
        source = random.Random(1)
        words = bytes(source.choices(b"abcdefgh ", k=CHUNK))
        noise = source.randbytes(CHUNK)
        pieces = [words, bytes(CHUNK), noise, words, bytes(CHUNK), bytes(CHUNK), noise[:12345]]
        with open(self.path("disk.raw"), "wb") as file:
            for n, piece in enumerate(pieces):
                if n != 4:
                    file.seek(n * CHUNK)
                    file.write(piece)
        return b"".join(pieces)

    def run_mkstore(self, *words, status=0, lazy=True):
        done = subprocess.run([MKSTORE, *(["--lazy"] if lazy else []), *words], capture_output=True, text=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, status, done)
        return done

    def manifest(self, *names):
        magic, text = decode(read(self.store, *names, SNAPSHOT, "index.json.blob"))
        self.assertIn(magic, (PLAIN, ZSTD))
        return json.loads(text)

    def read_back(self, magics, key=b"", chunk_size=CHUNK):
        """The image as its chunks give it, each checked."""
        size, step, digests, csum = read_index(read(self.store, SNAPSHOT, "disk.img.fidx"))
        self.assertEqual(step, chunk_size)
        data = b""
        for digest in digests:
            name = digest.hex()
            magic, payload = decode(read(self.store, ".chunks", name[:4], name), key=KEY)
            self.assertIn(magic, magics)
            self.assertEqual(hashlib.sha256(payload + key).hexdigest(), name)
            data += payload
        self.assertEqual(len(data), size)
        return data, csum

    def check_round_trip(self, options, magics, mode, key=b"", chunk_size=CHUNK):
        image = self.write_image()
        self.run_mkstore(*options, self.store, SNAPSHOT, f"disk.img={self.path('disk.raw')}",
                         f"qemu-server.conf={self.path('vm.conf')}")
        data, csum = self.read_back(magics, key, chunk_size)
        self.assertEqual(data, image)
        conf = read(self.store, SNAPSHOT, "qemu-server.conf.blob")
        self.assertEqual(decode(conf, key=KEY)[1], read(self.path("vm.conf")))
        manifest = self.manifest()
        self.assertEqual((manifest["backup-type"], manifest["backup-id"], manifest["backup-time"]),
                         ("vm", "100", 1767323045))
        self.assertEqual(manifest["files"], [
            {"filename": "disk.img.fidx", "size": len(image), "csum": csum.hex(), "crypt-mode": mode},
            {"filename": "qemu-server.conf.blob", "size": len(conf), "csum": hashlib.sha256(conf).hexdigest(),
             "crypt-mode": mode}])
        return manifest

    def check_signature(self, manifest):
        signature = manifest.pop("signature")
        unprotected = manifest.pop("unprotected")
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.assertEqual(signature, hmac.new(ID_KEY, text.encode(), "sha256").hexdigest())
        self.assertEqual(unprotected["key-fingerprint"].replace(":", ""), FINGERPRINT.hex())

    def test_compressed(self):
        manifest = self.check_round_trip([], {ZSTD, PLAIN}, "none")
        self.assertIsNone(manifest.get("signature"))
        self.assertNotIn("key-fingerprint", manifest.get("unprotected", {}))

    def test_stored(self):
        self.check_round_trip(["--plain"], {PLAIN}, "none")

    def test_small_chunks(self):
        self.check_round_trip(["--chunk-size", "64K"], {ZSTD, PLAIN}, "none", chunk_size=64 << 10)

    def test_encrypted(self):
        options = ["--keyfile", self.path("key.json")]
        self.check_signature(self.check_round_trip(options, {ENCRYPTED_ZSTD, ENCRYPTED}, "encrypt", ID_KEY))

    def test_encrypted_and_stored(self):
        options = ["--plain", "--keyfile", self.path("key.json")]
        self.check_signature(self.check_round_trip(options, {ENCRYPTED}, "encrypt", ID_KEY))

    def test_signed_only(self):
        options = ["--sign-only", "--keyfile", self.path("key.json")]
        self.check_signature(self.check_round_trip(options, {ZSTD, PLAIN}, "sign-only"))

    def test_chunks_are_stored_once(self):
        self.check_round_trip([], {ZSTD, PLAIN}, "none")
        before = {path: os.stat(path).st_ino for path in glob.glob(f"{self.store}/.chunks/*/*")}
        self.assertEqual(len(before), 4)  # words, noise, zeros, the short end
        self.run_mkstore("--time", "1767323046", self.store, "vm/100", f"disk.img={self.path('disk.raw')}")
        after = {path: os.stat(path).st_ino for path in glob.glob(f"{self.store}/.chunks/*/*")}
        self.assertEqual(before, after)

    def test_layout_modes_and_owner(self):
        self.run_mkstore("--ns", "a/b", "--synthetic", "8M:zero", self.store, SNAPSHOT, "disk.img", lazy=False)
        self.assertEqual(sorted(os.listdir(f"{self.store}/.chunks")), [f"{n:04x}" for n in range(65536)])
        chunk = glob.glob(f"{self.store}/.chunks/bb9f/*")[0]
        modes = {"": 0o40755, ".lock": 0o100644, ".chunks": 0o40750, ".chunks/0000": 0o40750, "ns/a/ns/b": 0o40755,
                 f"ns/a/ns/b/{SNAPSHOT}": 0o40755, "ns/a/ns/b/vm/100/owner": 0o100644,
                 f"ns/a/ns/b/{SNAPSHOT}/disk.img.fidx": 0o100644,
                 f"ns/a/ns/b/{SNAPSHOT}/index.json.blob": 0o100644, os.path.relpath(chunk, self.store): 0o100644}
        for name, mode in modes.items():
            found = os.stat(os.path.join(self.store, name))
            self.assertEqual(oct(found.st_mode), oct(mode), name)
            self.assertEqual(found.st_uid, BACKUP if os.geteuid() == 0 else os.geteuid(), name)
        self.assertTrue(stat.S_ISDIR(os.stat(f"{self.store}/ns/a/ns/b/vm").st_mode))
        self.assertEqual(read(self.store, "ns/a/ns/b/vm/100/owner"), b"root@pam\n")

    def test_nothing_temporary_is_left(self):
        self.check_round_trip([], {ZSTD, PLAIN}, "none")
        left = [name for _, _, names in os.walk(self.store) for name in names if "tmp" in name]
        self.assertEqual(left, [])

    def test_a_huge_index_needs_no_data(self):
        self.run_mkstore("--index-only", "1T", self.store, SNAPSHOT, "disk.img")
        size, _, digests, _ = read_index(read(self.store, SNAPSHOT, "disk.img.fidx"))
        self.assertEqual((size, len(digests), len(set(digests))), (1 << 40, 1 << 18, 5))
        for name in {digest.hex() for digest in digests}:
            self.assertEqual(hashlib.sha256(decode(read(self.store, ".chunks", name[:4], name))[1]).hexdigest(), name)

    def walk(self, archive, data, directory, path=b""):
        """Yields (path, SHA-256) of all files; checks what tables say."""
        members = archive.members(directory)
        for (pos, size, name_hash), end in zip(members, [row[0] for row in members[1:]] + [None]):
            name, entry = archive.name(pos)
            self.assertEqual(pxar.siphash(name), name_hash)
            if archive.is_directory(entry):
                self.assertIn(end, (pos + size, None))
                yield from self.walk(archive, data, (entry, pos + size), path + name + b"/")
                continue
            is_elsewhere, off, length = archive.content(entry)
            self.assertEqual(is_elsewhere, data is not archive.stream)
            self.assertIn(end, (pos + size - (length if is_elsewhere else 0), None))
            self.assertEqual(struct.unpack("<QQ", data.read(off - 16, 16)), (pxar.PAYLOAD, length + 16))
            yield path + name, length, hashlib.sha256(data.read(off, length)).digest()

    def test_synthetic_file_archives(self):
        self.run_mkstore("--chunk-size", "64K", "--synthetic-tree", "2500:16M", self.store, SNAPSHOT, "one.pxar",
                         "split.mpxar")
        one, split = (Archive(self.store, f"{SNAPSHOT}/{name}.didx") for name in ("one.pxar", "split.mpxar"))
        payload = Stream(self.store, f"{SNAPSHOT}/split.ppxar.didx")
        files = list(self.walk(one, one.stream, one.root()))
        self.assertEqual(files, list(self.walk(split, payload, split.root())))
        self.assertEqual([row[:2] for row in files[-2:]], [(b"large/one", 4 << 20), (b"large/two", 1 << 20)])
        self.assertEqual(len({data for _, _, data in files}), 2502)
        self.assertLess(abs(sum(length for _, length, _ in files) - (16 << 20)), 1 << 18)
        self.assertEqual(self.manifest()["files"], [
            {"filename": name, "size": stream.size, "csum": hashlib.sha256(stream.table).hexdigest(),
             "crypt-mode": "none"}
            for name, stream in (("one.pxar.didx", one.stream), ("split.mpxar.didx", split.stream),
                                 ("split.ppxar.didx", payload))])
        for stream in (one.stream, payload):  # large files are in chunks of their own
            lengths = [end - start for start, end in zip([0] + stream.ends, stream.ends)]
            self.assertEqual(lengths.count(64 << 10), 80)
            self.assertLess(max(lengths), 128 << 10)

    def test_an_unfinished_snapshot_has_no_manifest(self):
        self.run_mkstore("--unfinished", "--synthetic", "4M:zero", self.store, SNAPSHOT, "disk.img")
        self.assertEqual(os.listdir(os.path.join(self.store, SNAPSHOT)), ["disk.img.fidx"])

    def test_prints_the_whole_name(self):
        done = self.run_mkstore("--time", "2026-01-02T03:04:05Z", "--synthetic", "4M:zero", self.store, "vm/100",
                                "disk.img")
        self.assertEqual(done.stdout, SNAPSHOT + "\n")

    def test_refuses_a_snapshot_that_exists(self):
        words = ["--synthetic", "4M:zero", self.store, SNAPSHOT, "disk.img"]
        self.run_mkstore(*words)
        self.assertIn("already", self.run_mkstore(*words, status=1).stderr)

    def test_refuses_what_it_cannot_make(self):
        image = f"disk.img={self.path('vm.conf')}"
        for words in (["--chunk-size", "5M", self.store, SNAPSHOT, image], [self.store, "vm", image],
                      [self.store, SNAPSHOT, "disk.img"], [self.store, SNAPSHOT, f"root.pxar={self.path('vm.conf')}"],
                      [self.store, SNAPSHOT + "x", image], ["--sign-only", self.store, SNAPSHOT, image],
                      ["--ns", "a//b", self.store, SNAPSHOT, image], ["--level", "0", self.store, SNAPSHOT, image],
                      [self.store, "vm/1", f"disk.img={self.path('missing')}"], [self.store, SNAPSHOT],
                      ["--synthetic-tree", "0:1M", self.store, "vm/4", "one.pxar"],
                      ["--synthetic-tree", "1:4M", self.store, "vm/4", "one.pxar"],
                      ["--synthetic-tree", "10:1M", self.store, "vm/5", "one.ppxar"],
                      ["--synthetic", "0", self.store, "vm/2", "disk.img"],
                      ["--index-only", "5M", self.store, "vm/3", "disk.img"]):
            self.assertTrue(self.run_mkstore(*words, status=1).stderr.startswith("mkstore: "), words)


if __name__ == "__main__":
    MKSTORE = os.path.abspath(sys.argv.pop(1))
    unittest.main()
