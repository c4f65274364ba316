#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tables in this directory, from the description of the formats only: nothing of src/ is used.

libzstd and libcrypto are called directly, the rest is Python.  The same every time, as long as libzstd
compresses the same way.
"""
import base64
import calendar
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import os
import random
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
KEY = bytes(range(32))
ID_KEY = hashlib.pbkdf2_hmac("sha256", KEY, b"_id_key", 10)
LEVEL, CONTENT_SIZE, CHECKSUM = 100, 200, 201  # ZSTD_cParameter of zstd.h
SET_IV_LEN, GET_TAG = 9, 16  # EVP_CTRL_AEAD_… of openssl/evp.h

zstd = ctypes.CDLL(ctypes.util.find_library("zstd"))
crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for name in ("ZSTD_createCCtx", "ZSTD_compressBound", "ZSTD_compress2"):
    getattr(zstd, name).restype = ctypes.c_size_t
for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"):
    getattr(crypto, name).restype = ctypes.c_void_p
HANDLE = ctypes.c_void_p


def magic(text):
    return hashlib.sha256(text.encode()).digest()[:8]


PLAIN = magic("Proxmox Backup uncompressed blob v1.0")
ZSTD = magic("Proxmox Backup zstd compressed blob v1.0")
ENCRYPTED = magic("Proxmox Backup encrypted blob v1.0")
ENCRYPTED_ZSTD = magic("Proxmox Backup zstd compressed encrypted blob v1.0")


def frame(data, level=3, size=True, checksum=False):
    context = HANDLE(zstd.ZSTD_createCCtx())
    for parameter, value in ((LEVEL, level), (CONTENT_SIZE, size), (CHECKSUM, checksum)):
        zstd.ZSTD_CCtx_setParameter(context, parameter, int(value))
    out = ctypes.create_string_buffer(zstd.ZSTD_compressBound(ctypes.c_size_t(len(data))))
    n = zstd.ZSTD_compress2(context, out, ctypes.c_size_t(len(out)), data, ctypes.c_size_t(len(data)))
    zstd.ZSTD_freeCCtx(context)
    return out.raw[:n]


def seal(data, iv):
    """Ciphertext and tag of AES-256-GCM with an IV of 16 bytes."""
    context = HANDLE(crypto.EVP_CIPHER_CTX_new())
    crypto.EVP_EncryptInit_ex(context, HANDLE(crypto.EVP_aes_256_gcm()), None, None, None)
    crypto.EVP_CIPHER_CTX_ctrl(context, SET_IV_LEN, len(iv), None)
    crypto.EVP_EncryptInit_ex(context, None, None, KEY, iv)
    out, tag = ctypes.create_string_buffer(len(data) + 16), ctypes.create_string_buffer(16)
    n = ctypes.c_int()
    crypto.EVP_EncryptUpdate(context, out, ctypes.byref(n), data, len(data))
    crypto.EVP_EncryptFinal_ex(context, tag, ctypes.byref(n))
    crypto.EVP_CIPHER_CTX_ctrl(context, GET_TAG, 16, tag)
    crypto.EVP_CIPHER_CTX_free(context)
    return out.raw[:len(data)], tag.raw


def blob(body, compressed, iv=None):
    if iv is None:
        return (ZSTD if compressed else PLAIN) + zlib.crc32(body).to_bytes(4, "little") + body
    sealed, tag = seal(body, iv)
    kind = ENCRYPTED_ZSTD if compressed else ENCRYPTED
    return kind + zlib.crc32(sealed).to_bytes(4, "little") + iv + tag + sealed


def bodies(chance):
    """(what, payload, body, compressed)"""
    for n in (1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 511):
        data = chance.randbytes(n)
        yield f"{n} bytes", data, data, False
        yield f"{n} bytes, a frame", data, frame(data), True
    text = b" ".join(chance.choice([b"chunk", b"index", b"blob", b"key"]) for _ in range(300))
    for level in (1, 3, 9, 19):
        yield f"text at level {level}", text, frame(text, level), True
    yield "a frame without its size", text, frame(text, size=False), True
    yield "a frame with a checksum", text, frame(text, checksum=True), True
    yield "neither", text, frame(text, size=False, checksum=False), True
    yield "two frames", text + text[:100], frame(text) + frame(text[:100], size=False), True
    yield "a frame of nothing, then one", text, frame(b"") + frame(text), True
    yield "a frame to be skipped, then one", text, bytes.fromhex("502a4d18") + b"\4\0\0\0skip" + frame(text), True
    zeros = bytes(1 << 20)
    yield "1 MiB of zeros", zeros, frame(zeros), True
    yield "1 MiB of zeros without its size", zeros, frame(zeros, size=False), True


def blob_rows():
    chance = random.Random(1)
    for what, data, body, compressed in bodies(chance):
        sha256, keyed = (hashlib.sha256(data + suffix).hexdigest() for suffix in (b"", ID_KEY))
        yield what, "plain", len(data), sha256, sha256, blob(body, compressed).hex()
        yield what, "encrypted", len(data), sha256, keyed, blob(body, compressed, chance.randbytes(16)).hex()


def random_text(chance):
    alphabet = ["a", "B", "7", "_", " ", "/", '"', "\\", "\b", "\f", "\n", "\r", "\t", "\x01", "\x1f", "\x7f",
                "\x85", "ü", "\u2028", "\ufeff", "\uffff", "\U0001f600"]
    return "".join(chance.choice(alphabet) for _ in range(chance.randrange(8)))


def random_json(chance, depth):
    kind = chance.randrange(6 if depth else 4)
    if kind == 0:
        return chance.choice([True, False])
    if kind == 1:
        return chance.choice([0, -1, 1, 2**53 + 1, 2**63 - 1, -2**63, chance.randrange(10**6)])
    if kind < 4:
        return random_text(chance)
    if kind == 4:
        return [random_json(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {random_text(chance): random_json(chance, depth - 1) for _ in range(chance.randrange(6))}


def as_written(chance, value):
    """The same value in one of the ways JSON can be written, on one line."""
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        value = dict(items)
    return json.dumps(value, ensure_ascii=chance.choice([True, False]),
                      separators=chance.choice([(",", ":"), (", ", ": "), (" ,  ", "  :  ")]))


def json_rows():
    """The canonical text and its HMAC; both in base64, for they hold any character."""
    chance = random.Random(2)
    for _ in range(100):
        value = {random_text(chance): random_json(chance, 4) for _ in range(1 + chance.randrange(6))}
        canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        yield base64.b64encode(as_written(chance, value).encode()).decode(), \
            base64.b64encode(canonical).decode(), hmac.digest(ID_KEY, canonical, "sha256").hex()


def time_rows():
    chance = random.Random(3)
    edges = [(0, 1, 1, 0, 0, 0), (0, 2, 29, 12, 0, 0), (1, 1, 1, 0, 0, 0), (1582, 10, 10, 1, 2, 3),
             (1900, 2, 28, 23, 59, 59), (1969, 12, 31, 23, 59, 59), (1970, 1, 1, 0, 0, 0), (2000, 2, 29, 0, 0, 0),
             (2024, 2, 29, 23, 59, 59), (2038, 1, 19, 3, 14, 8), (2100, 3, 1, 0, 0, 0), (2106, 2, 7, 6, 28, 16),
             (9999, 12, 31, 23, 59, 59)]
    for _ in range(60):
        edges.append((chance.randrange(1, 10000), chance.randrange(1, 13), chance.randrange(1, 29),
                      chance.randrange(24), chance.randrange(60), chance.randrange(60)))
    for year, month, day, hour, minute, second in edges:
        # Python has no year 0; the calendar repeats after 400 years of 146097 days together.
        later = 400 if year == 0 else 0
        seconds = calendar.timegm((year + later, month, day, hour, minute, second)) - later // 400 * 146097 * 86400
        yield f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", seconds


def write(name, head, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as text:
        text.write("#" + "\t".join(head) + "\n")
        for row in rows:
            text.write("\t".join(str(field) for field in row) + "\n")


def main():
    write("blobs.tsv", ["what", "kind", "size", "sha256 of the payload", "digest", "blob"], blob_rows())
    write("json.tsv", ["written", "canonical", "signature"], json_rows())
    write("times.tsv", ["time", "epoch seconds"], time_rows())


if __name__ == "__main__":
    main()
