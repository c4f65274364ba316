#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast pbsd serves chunks, and what that costs it.

    throughput.py [--delay MS] [--streams N] [--connections N] [--mib N] [--frame BYTES] [--window BYTES]

A store of random chunks of 4 MiB is made in memory and read over and over by a client that does no more than count
bytes: it parses frame heads, not frames.  Shown: MB/s of bodies, and MB of bodies for each second of the server's
processor time, which is what one core could serve.
"""
import argparse
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

from pbsd import USER, Pbsd

N_CHUNKS = 32
CHUNK = 4 << 20
SNAPSHOT = "vm/1/2026-01-02T03:04:05Z"
TIME = 1767323045
READ_SIZE = 1 << 20
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8


def make_store(directory):
    digests = []
    for _ in range(N_CHUNKS):
        data = bytes.fromhex("42ab3807be8370a1") + bytes(4) + os.urandom(CHUNK)
        digest = hashlib.sha256(data[12:]).hexdigest()
        path = os.path.join(directory, ".chunks", digest[:4])
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, digest), "wb") as chunk:
            chunk.write(data)
        digests.append(digest)
    os.makedirs(os.path.join(directory, SNAPSHOT))
    with open(os.path.join(directory, SNAPSHOT, "x.img.fidx"), "wb") as index:
        index.write(bytes.fromhex("2f7f41ed91fd0fcd") + bytes(24 + 32) +
                    struct.pack("<QQ", N_CHUNKS * CHUNK, CHUNK) + bytes(4016))
        index.write(b"".join(map(bytes.fromhex, digests)))
    return digests


def frame(kind, stream, payload=b"", flags=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header without indexing, RFC 7541 section 6.2.2; all lengths here are below 127."""
    return b"".join([b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()])


class Tls:
    """TLS that reads much from the socket at once: ssl's own sockets make two system calls for each 16 KiB."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ssl._create_unverified_context().wrap_bio(self.incoming, self.outgoing)
        self.until_done(self.tls.do_handshake)

    def until_done(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(READ_SIZE)
                assert data, "the connection ended"
                self.incoming.write(data)

    def flush(self):
        self.sock.sendall(self.outgoing.read())

    def sendall(self, data):
        self.tls.write(data)
        self.flush()

    def recv_into(self, buffer):
        return self.until_done(self.tls.read, len(buffer), buffer)


def upgraded(server, ticket):
    """A TLS connection that speaks HTTP/2 from here on."""
    tls = Tls(server.port)
    query = f"backup-id=1&backup-time={TIME}&backup-type=vm&store=bench"
    tls.sendall(f"GET /api2/json/reader?{query} HTTP/1.1\r\nHost: x\r\nCookie: PBSAuthCookie={ticket}\r\n"
                "Connection: upgrade\r\nUpgrade: proxmox-backup-reader-protocol-v1\r\n\r\n".encode())
    got, byte = b"", bytearray(1)
    while b"\r\n\r\n" not in got:
        tls.recv_into(byte)
        got += byte
    assert got.startswith(b"HTTP/1.1 101"), got
    return tls


def log_in(server):
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
    connection.request("POST", "/api2/json/access/ticket",
                       json.dumps({"username": USER, "password": server.password}),
                       {"Content-Type": "application/json"})
    return json.load(connection.getresponse())["data"]["ticket"]


class Reader:
    """Asks for chunks, a fixed number at a time, and counts what comes."""

    def __init__(self, server, digests, arguments):
        self.sock = upgraded(server, log_in(server))
        self.digests = digests
        self.window = arguments.window
        self.next_stream = 1
        self.received = self.unacknowledged = 0
        self.buffer = memoryview(bytearray(READ_SIZE))
        self.have = self.at = 0
        settings = struct.pack(">HIHI", 4, arguments.window, 5, arguments.frame)
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, settings) +
                          frame(WINDOW_UPDATE, 0, struct.pack(">I", 0x7ffeffff)))
        self.ask("/download?file-name=x.img.fidx")
        self.run(1, 0)

    def ask(self, path):
        headers = b"".join(literal(*pair) for pair in (
            (":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", path)))
        self.sock.sendall(frame(HEADERS, self.next_stream, headers, flags=5))
        self.next_stream += 2

    def ask_chunk(self):
        self.ask(f"/chunk?digest={self.digests[self.next_stream // 2 % len(self.digests)]}")

    def take(self, n):
        """The next bytes: as a copy when they are a frame's head, skipped in the buffer otherwise."""
        if self.at == self.have:
            self.have, self.at = self.sock.recv_into(self.buffer), 0
            assert self.have, "the connection ended"
        n = min(n, self.have - self.at)
        self.at += n
        return self.buffer[self.at - n:self.at]

    def exactly(self, n):
        data = b""
        while len(data) < n:
            data += self.take(n - len(data))
        return data

    def run(self, n_open, n_more):
        """Until all @n_open streams are done and @n_more were asked for on the way."""
        while n_open:
            head = self.exactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            left = length
            while left:
                left -= len(self.take(left))
            if kind == DATA:
                self.received += length
                self.acknowledge(length, int.from_bytes(head[5:], "big"), is_open=not flags & 1)
            elif kind not in (HEADERS, SETTINGS, WINDOW_UPDATE):
                raise AssertionError(f"frame of type {kind}")
            if kind in (DATA, HEADERS) and flags & 1:
                n_open -= 1
                if n_more:
                    self.ask_chunk()
                    n_open, n_more = n_open + 1, n_more - 1

    def acknowledge(self, length, stream, is_open):
        if is_open and self.window < CHUNK * 2:
            self.sock.sendall(frame(WINDOW_UPDATE, stream, struct.pack(">I", length)))
        self.unacknowledged += length
        if self.unacknowledged > 64 << 20:
            self.sock.sendall(frame(WINDOW_UPDATE, 0, struct.pack(">I", self.unacknowledged)))
            self.unacknowledged = 0


def read_chunks(reader, n, n_streams):
    reader.received = 0
    for _ in range(min(n, n_streams)):
        reader.ask_chunk()
    reader.run(min(n, n_streams), n - min(n, n_streams))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(server, digests, arguments):
    readers = [Reader(server, digests, arguments) for _ in range(arguments.connections)]
    n = arguments.mib * (1 << 20) // CHUNK // len(readers)
    threads = [threading.Thread(target=read_chunks, args=(reader, n, arguments.streams)) for reader in readers]
    before, begin = processor_seconds(server.pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    received = sum(reader.received for reader in readers) / 1e6
    cost = processor_seconds(server.pid) - before
    print(f"delay {arguments.delay} ms, {arguments.streams} streams, {len(readers)} connections: "
          f"{received / seconds:.0f} MB/s, server {cost / seconds:.2f} cores, {received / cost:.0f} MB per CPU second")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--mib", type=int, default=4096)
    parser.add_argument("--frame", type=int, default=4 << 20)
    parser.add_argument("--window", type=int, default=(1 << 31) - 2)
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="pbsd-", dir="/dev/shm")
    try:
        digests = make_store(directory)
        with Pbsd({"bench": directory}, f"--delay={arguments.delay}") as server:
            measure(server, digests, arguments)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
