# SPDX-License-Identifier: Apache-2.0
"""A small writer of file archives, for seeds of the fuzzers; what the items mean is told in src/format/pxar.h."""
import struct

VERSION, ENTRY, FILENAME, SYMLINK = 0x730F6C75DF16A40D, 0xD5956474E588ACEF, 0x16701121063917B3, 0x27F971E7DBF5DC5F
DEVICE, XATTR, ACL_USER, GROUP_OBJ = 0x9FC9E906586D5CE9, 0x0DAB0229B57DCD03, 0x2CE8540A457D55B8, 0x10868031E9582876
ACL_DEFAULT, FCAPS, HARDLINK = 0xBBBB13415A6896F5, 0x2DA9DD9DB5F7FB67, 0x51269C8422BD7275
PAYLOAD, REFERENCE, GOODBYE = 0x28147A1B0B7C1A25, 0x419D3D6BC4BA977E, 0x2FEC4FA642D5731D
START, TAIL, MARK = 0x834C68C2194A4ED2, 0x6C72B78B984C81B5, 0xEF5EED5B753E1555
K0, K1, MASK = 0x83AC3F1CFBB450DB, 0xAA4F1B6879369FBD, (1 << 64) - 1


def siphash(data):
    v = [K0 ^ 0x736F6D6570736575, K1 ^ 0x646F72616E646F6D, K0 ^ 0x6C7967656E657261, K1 ^ 0x7465646279746573]

    def rotate(x, by):
        return (x << by | x >> (64 - by)) & MASK

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[2] = (v[2] + v[3]) & MASK
            v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & MASK
            v[0] = (v[0] + v[3]) & MASK
            v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    data_len = len(data)
    data += bytes(7 - data_len % 8) + bytes([data_len % 256])
    for (word,) in struct.iter_unpack("<Q", data):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def item(kind, content=b""):
    return struct.pack("<QQ", kind, len(content) + 16) + content


def entry(mode, mtime=1700000000, ns=0):
    return item(ENTRY, struct.pack("<QQIIqII", mode, 0, 0, 0, mtime, ns, 0))


def table(members, start, dir_pos):
    """@members: (name, position, size) each."""
    rows = sorted((siphash(name), pos, size) for name, pos, size in members)
    tree = [None] * len(rows)
    todo = iter(rows)

    def lay_out(i):
        if i < len(tree):
            lay_out(2 * i + 1)
            tree[i] = next(todo)
            lay_out(2 * i + 2)

    lay_out(0)
    content = b"".join(struct.pack("<QQQ", h, start - pos, size) for h, pos, size in tree)
    return item(GOODBYE, content + struct.pack("<QQQ", MARK, start - dir_pos, len(content) + 40))


def directory(members, start=0, mode=0o40755, attrs=b"", is_root=False):
    """@members: (name, function of its position that gives its bytes), in order; a list is a directory's."""
    out = entry(mode) + attrs
    slots = []
    for name, make in members:
        pos = start + len(out)
        head = item(FILENAME, name + b"\0")
        body = directory(make, pos + len(head)) if isinstance(make, list) else make(pos)
        slots.append((name, pos, len(head) + len(body)))
        out += head + body
    return out + table(slots, start + len(out), 0 if is_root else start)


def plain(data, mode=0o100644, attrs=b""):
    return lambda pos: entry(mode) + attrs + item(PAYLOAD, data)


def reference(off, size):
    return lambda pos: entry(0o100644) + item(REFERENCE, struct.pack("<QQ", off, size))


def special(mode, content=b""):
    return lambda pos: entry(mode) + content


def link(target_pos, path):
    return lambda pos: item(HARDLINK, struct.pack("<Q", pos - target_pos) + path + b"\0")
