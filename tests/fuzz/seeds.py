#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes corpus/ from tests/golden and tests/vectors: something valid of every kind for each target to start from."""
import base64
import ctypes
import ctypes.util
import glob
import json
import os
import shutil
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TESTS, "tools"))
import pxar  # noqa: E402
HAS_KEY, SEAL = 1, 4  # what fuzz_blob.c makes of the first byte


def read(path):
    with open(path, "rb") as data:
        return data.read()


def golden(pattern):
    return sorted(glob.glob(os.path.join(TESTS, "golden", pattern), recursive=True))


def rows(table):
    with open(os.path.join(TESTS, "vectors", table), encoding="utf-8") as text:
        return [row.rstrip("\n").split("\t") for row in text if not row.startswith("#")]


def decompress(frame):
    zstd = ctypes.CDLL(ctypes.util.find_library("zstd"))
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(1 << 16)
    n = zstd.ZSTD_decompress(out, ctypes.c_size_t(len(out)), frame, ctypes.c_size_t(len(frame)))
    return out.raw[:n]


def manifests():
    for path in golden("datastore/**/index.json.blob"):
        yield decompress(read(path)[12:])


def blobs():
    for path in golden("datastore/**/*.blob"):
        yield bytes([0]) + read(path)
    for what, kind, _, _, _, raw in rows("blobs.tsv"):
        if what[0].isdigit() and len(raw) > 200:
            continue
        yield bytes([HAS_KEY if kind == "encrypted" else 0]) + bytes.fromhex(raw)
        if kind == "encrypted":
            plain = next(row[5] for row in rows("blobs.tsv") if row[:2] == [what, "plain"])
            yield bytes([HAS_KEY | SEAL]) + bytes.fromhex(raw)[:44] + bytes.fromhex(plain)[12:]


def fold(index):
    """As fuzz_index.h unfolds it."""
    return index[:80] + index[4096:]


def fixed_indexes():
    for path in golden("datastore/**/*.fidx"):
        yield fold(read(path))


def dynamic_indexes():
    """There is none among the golden ones that small: the description's example, and one with long chunks."""
    head = bytes.fromhex("1c914ea519bab3cd") + bytes(range(16)) + (1704164645).to_bytes(8, "little") + bytes(48)
    for ends in ([100, 350, 1000], [4 << 20, 9 << 20, 10 << 20], [128 << 20], [1]):
        yield head + b"".join(end.to_bytes(8, "little") + bytes([i]) * 32 for i, end in enumerate(ends))


def key_files():
    keys = [read(path) for path in golden("keys/*.json")]
    yield from keys
    yield b"-----BEGIN PROXMOX BACKUP KEY-----\n" + keys[0] + b"\n-----END PROXMOX BACKUP KEY-----\n"
    sealed = base64.b64encode(bytes(64)).decode()
    times = '"created":"2024-01-02T03:04:05Z","modified":"2024-01-02T03:04:05Z"'
    for kdf in ('{"Scrypt":{"n":16,"r":1,"p":1,"salt":"AAAA"}}', '{"PBKDF2":{"iter":1,"salt":"AAAA"}}'):
        yield f'{{"kdf":{kdf},{times},"data":"{sealed}","hint":"h"}}'.encode()


def names():
    yield from (name.encode() for name in ("a/b", "1/2/3/4/5/6/7", "vm/100", "host/a.b-c_d", "drive-scsi0.img",
                                           "root.pxar.didx", "qemu-server.conf.blob", "AAECAwQFBgc=", "ab" * 32,
                                           ":".join(["0e"] * 32), "vm/100/2026-01-02T03:04:05Z",
                                           "host/9/2026-01-02T03:04:05Z\nhost/10/2026-01-02T03:04:05Z"))
    yield from (time.encode() for time, _ in rows("times.tsv")[:6])


def json_manifests():
    """The golden ones, and one with all kinds of strange text in it."""
    yield from manifests()
    for written, _, _ in rows("json.tsv")[:30]:
        yield b'{"backup-id":"1","backup-time":1,"backup-type":"vm","files":[],"x":' + base64.b64decode(written) + b"}"


def repositories():
    yield from (text.encode() for text in (
        "store", "8007:store", "127.0.0.1:1:store", "u@pam!t@127.0.0.1:1:s_a", "u!t@pam@h.example.com:1:s",
        "u@x@pam@h:65535:sto", "[::1]:sto", "root@pam@[fe80::1:2]:8007:store-1", "::1:sto", "[fe80::1%eth0]:1:sto",
        "u@pam@:sto", "host_a:1:sto", "h:123456:sto", ":store", "u@pam@h:1:.s"))


def pbs_answers():
    """What fuzz_pbs_answers.c makes of the first byte: which answer it is."""
    for kind, name in enumerate(("namespaces", "groups", "snapshots")):
        whole = read(os.path.join(TESTS, "vectors", "api", f"{name}.json"))
        yield bytes([kind]) + whole
        yield bytes([kind]) + b'{"data":[]}'
        for row in json.loads(whole)["data"]:
            row.update({"comment": "a, \"]", "owner": None})
            yield bytes([kind]) + json.dumps({"data": [row], "status": 200, "success": True}).encode()
    data = {"CSRFPreventionToken": "65937B5E:AbC", "ticket": "PBS:root@pam:65937B5E::AbC+/d==", "username": "root@pam"}
    yield bytes([3]) + json.dumps({"data": data}).encode()
    yield bytes([3]) + json.dumps({"data": {**data, "ticket": "PBS:!tfa!%7B%7D:65937B5E::AbC"}, "success": True}).encode()
    yield from (bytes([4]) + text for text in (b"\x04\x00no such datastore 'x'\nmore", b"\x04\x01 download chunk x\x1b[0m",
                                              b"datastore 'x' is unavailable: offline maintenance mode: \xc3\xbc"))


def upgrades():
    """The first byte: in pieces of which length."""
    name = b"proxmox-backup-reader-protocol-v1"
    yield b"\0HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: " + name + b"\r\n\r\n\0\0\x12\4\0"
    yield b"\4HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\nUpgrade:" + name + b" \t\r\ncontent-length: 4\r\n\r\nPRI"
    yield b"\1HTTP/1.1 401 Unauthorized\r\ncontent-length: 24\r\n\r\npermission check failed."
    yield b"\7HTTP/1.1 400 x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nno s\r\n00a;x=y\r\nuch store!\r\n0\r\n\r\n"
    yield b"\2HTTP/1.1 301 Moved\r\nlocation: https://example.org:8007\r\ncontent-length: 0\r\n\r\n"
    yield b"\5HTTP/1.0 503 x\r\ncontent-encoding: identity\r\n\r\nup to the end"
    yield b"\3SSH-2.0-x\r\n"


def h2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def h2_servers():
    """What servers send, and before it what fuzz_h2.c makes of two bytes: requests and how; bytes at a time."""
    data, headers, reset, settings, push, ping, goaway, window, more = 0, 1, 3, 4, 5, 6, 7, 8, 9
    end, whole, ack = 1, 4, 1
    hello = h2_frame(settings, 0, 0, bytes([0, 3, 0, 0, 0, 100])) + h2_frame(settings, ack, 0)
    good = b"\x88"  # :status 200, of the static table
    of_ten = good + b"\x0f\x0d\x0210"  # content-length: 10
    answer = h2_frame(headers, whole, 1, of_ten) + h2_frame(data, 0, 1, b"01234") + h2_frame(data, end, 1, b"56789")
    refusal = h2_frame(headers, whole, 3, b"\x8c") + h2_frame(data, end, 3, b"no such chunk")  # 400
    split = h2_frame(headers, 0, 1, good) + h2_frame(more, whole, 1, b"\x40\x01x\x01y") + h2_frame(data, end, 1)
    for how in (b"\x82\0", b"\x82\1", b"\x02\7", b"\xc4\0"):
        yield how + hello + answer + refusal + h2_frame(ping, 0, 0, b"12345678")
        yield how + hello + split + h2_frame(window, 0, 0, bytes([0, 0, 1, 0]))
        yield how + hello + h2_frame(headers, whole, 3, good) + 3 * h2_frame(data, 0, 3, b"0123456789" * 3) + h2_frame(data, end, 3)
        yield how + hello + h2_frame(goaway, 0, 0, bytes([0, 0, 0, 1, 0, 0, 0, 0])) + answer
        yield how + hello + h2_frame(reset, 0, 1, bytes([0, 0, 0, 7])) + h2_frame(reset, 0, 3, bytes(4))
        yield how + hello + h2_frame(headers, whole | end, 1, good) + h2_frame(push, whole, 3, b"\0\0\0\2\x82")
        yield how + hello + h2_frame(headers, whole, 1, good) + h2_frame(data, 8 | end, 1, b"\3abc\0\0\0")  # padded
        yield how + hello + h2_frame(headers, whole, 1, b"\x48\x82\x10\x1f") + answer + h2_frame(headers, whole | end, 1, b"\x40\1t\1u")


def nbd_option(number, data=b""):
    return b"IHAVEOPT" + number.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data


def nbd_request(magic, command, cookie, off, length, flags=0, size=4):
    return (magic.to_bytes(4, "big") + flags.to_bytes(2, "big") + command.to_bytes(2, "big") +
            cookie.to_bytes(8, "big") + off.to_bytes(8, "big") + length.to_bytes(size, "big"))


def nbd_clients():
    """What clients say from their flags on, and before that what fuzz_nbd.c makes of the first byte."""
    name = b"drive-scsi0.img"
    text = len(name).to_bytes(4, "big") + name
    query = (15).to_bytes(4, "big") + b"base:allocation"
    go = nbd_option(7, text + bytes.fromhex("0003 0001 0002 0003"))
    context = text + bytes.fromhex("00000001") + query
    commands = [(0, 0), (1, 0), (2, 0), (3, 0), (5, 0), (6, 0), (7, 0), (7, 8), (0, 4), (99, 0)]
    simple = b"".join(nbd_request(0x25609513, n, n + 1, 4096, 512, flags) + bytes(512 * (n == 1))
                      for n, flags in commands)
    extended = b"".join(nbd_request(0x21e41c71, n, n + 1, 4096, 512, flags | 32 * (n == 1), 8) +
                        bytes(512 * (n == 1)) for n, flags in commands)
    flags = bytes.fromhex("00000003")
    yield bytes([0]) + flags + nbd_option(3) + nbd_option(8) + nbd_option(10, context) + go + simple
    yield bytes([1]) + bytes(4) + nbd_option(1) + simple
    yield bytes([0]) + flags + nbd_option(11) + nbd_option(9, context) + nbd_option(10, context) + go + extended
    yield bytes([2]) + flags + nbd_option(3) + nbd_option(5) + nbd_option(6, go[16:]) + nbd_option(2)
    yield bytes([2]) + flags + nbd_option(1, name)


def mbr(*entries):
    """(type, first sector, sectors) each"""
    table = b"".join(bytes([0, 0, 0, 0, kind, 0, 0, 0]) + start.to_bytes(4, "little") + n.to_bytes(4, "little")
                     for kind, start, n in entries)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def disks():
    """As fuzz_partitions.c takes them."""
    size = (8 << 20).to_bytes(8, "little")
    yield size + mbr((0x83, 64, 64), (0x05, 2, 100)) + bytes(512) + mbr((0x83, 1, 10), (0x05, 1, 20)) + \
        mbr((0x83, 1, 10))
    header = bytearray(512)
    header[:16] = b"EFI PART" + bytes.fromhex("00000100 5c000000")
    for at, length, value in ((24, 8, 1), (40, 8, 10), (48, 8, 1000), (72, 8, 2), (80, 4, 4), (84, 4, 128)):
        header[at:at + length] = value.to_bytes(length, "little")
    entry = bytes([0x22]) * 32 + (64).to_bytes(8, "little") + (127).to_bytes(8, "little") + bytes(80)
    yield ((8 << 20) + 1).to_bytes(8, "little") + mbr((0xee, 1, 16383)) + bytes(header) + 4 * entry


def attributes():
    named = struct.pack("<QQ", 1000, 7)
    return (pxar.item(pxar.XATTR, b"user.a\0value") + pxar.item(pxar.ACL_USER, named)
            + pxar.item(pxar.GROUP_OBJ, struct.pack("<Q", 5)) + pxar.item(pxar.FCAPS, bytes(20)))


def default_list():
    return pxar.item(pxar.ACL_DEFAULT, struct.pack("<QQQQ", 7, 5, 0, 7))


def pxar_items():
    """Entries, names and tables one by one."""
    yield pxar.plain(b"data", attrs=attributes())(0)
    yield pxar.reference(16, 5)(0)
    yield pxar.special(0o120777, pxar.item(pxar.SYMLINK, b"target\0"))(0)
    yield pxar.special(0o20644, pxar.item(pxar.DEVICE, struct.pack("<QQ", 1, 3)))(0)
    yield pxar.special(0o10644)(0)
    yield pxar.entry(0o40755) + attributes() + default_list() + pxar.item(pxar.FILENAME, b"x\0")
    yield pxar.item(pxar.FILENAME, b"name\0") + pxar.entry(0o10644)
    yield pxar.item(pxar.FILENAME, b"name\0") + pxar.link(1, b"a/b")(60)
    yield pxar.directory([(b"a", pxar.plain(b"x")), (b"b", [])])
    yield attributes() + default_list()


def trees():
    """Whole archives, of one stream and split."""
    def in_one(data):
        return struct.pack("<I", len(data)) + data

    members = [(b"a", pxar.plain(b"data", attrs=attributes())), (b"d", [(b"x", pxar.plain(b"y")), (b"e", [])]),
               (b"f", pxar.special(0o10644)), (b"l", pxar.special(0o120777, pxar.item(pxar.SYMLINK, b"d/x\0"))),
               (b"n", pxar.special(0o20644, pxar.item(pxar.DEVICE, struct.pack("<QQ", 1, 3))))]
    yield in_one(pxar.directory([], is_root=True))
    yield in_one(pxar.directory(members, is_root=True, attrs=default_list()))
    first = len(pxar.entry(0))
    yield in_one(pxar.directory([(b"a", pxar.plain(b"z")), (b"h", pxar.link(first, b"a"))], is_root=True))
    yield in_one(pxar.directory([(str(i).encode(), pxar.plain(b"")) for i in range(20)], is_root=True))
    head = pxar.item(pxar.VERSION, struct.pack("<Q", 2))
    meta = head + pxar.directory([(b"a", pxar.reference(16, 5)), (b"b", pxar.reference(37, 0))], len(head),
                                 is_root=True)
    payload = pxar.item(pxar.START) + pxar.item(pxar.PAYLOAD, b"hello") + pxar.item(pxar.PAYLOAD) + pxar.item(pxar.TAIL)
    yield struct.pack("<I", len(meta)) + meta + payload


TARGETS = {"blob": blobs, "didx": dynamic_indexes, "fidx": fixed_indexes, "h2": h2_servers, "key_file": key_files,
           "manifest": json_manifests, "names": names, "nbd": nbd_clients, "partitions": disks,
           "pbs_answers": pbs_answers, "pbs_repository": repositories, "pxar": pxar_items, "tree": trees,
           "upgrade": upgrades}


def main():
    for target, inputs in TARGETS.items():
        directory = os.path.join(HERE, "corpus", target)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        for n, data in enumerate(sorted(set(inputs()))):
            with open(os.path.join(directory, f"seed-{n:02}"), "wb") as seed:
                seed.write(data)


if __name__ == "__main__":
    main()
