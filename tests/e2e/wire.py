# SPDX-License-Identifier: Apache-2.0
"""Ways to a server with something in between: a network of the test's own that drops packets, a proxy."""
import contextlib
import ctypes
import os
import select
import socket
import threading

import pytest

CLONE_NEWNET = 0x40000000


class Relay:
    """Takes connections and passes bytes on, each in two threads of its own; what it saw is for tests to look at."""

    def __init__(self, listener, port):
        self.listener, self.port = listener, port
        self.sockets = [listener]
        self.n_connections = 0
        threading.Thread(target=self.accept_all, daemon=True).start()

    @property
    def own_port(self):
        return self.listener.getsockname()[1]

    def accept_all(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.n_connections += 1
                self.sockets.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            self.join(client, self.port)

    def join(self, client, port):
        server = socket.create_connection(("127.0.0.1", port))
        self.sockets.append(server)
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server)

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self):
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Proxy(Relay):
    """An HTTP proxy that knows CONNECT, to one server whatever its name."""

    def __init__(self, port, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.answer = answer
        self.requests = []
        super().__init__(socket.create_server(("127.0.0.1", 0)), port)

    def serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            self.requests.append(head.decode())
            client.sendall(self.answer)
            if b" 200 " in self.answer:
                self.join(client, self.port)
            else:
                client.close()


def in_network(pid, function):
    """Calls @function in the network of a process; sockets it makes stay there."""
    found, libc = [], ctypes.CDLL(None, use_errno=True)

    def call():
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(fd, CLONE_NEWNET) == 0:
                found.append(function())
        finally:
            os.close(fd)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found[0]


class Wire:
    """
    Two networks and a cable between them: in the near one the program runs, in the far one a relay listens, which
    passes on to the test server.  Both are gone with the processes they were made for.
    """
    near_address, address = "192.0.2.1", "192.0.2.2"  # RFC 5737

    def __init__(self, s, port):
        self.s = s
        self.near, self.far = self.network(), self.network()
        self.prefix = ["nsenter", f"--net=/proc/{self.near.pid}/ns/net"]
        made = s.run(*self.prefix, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns",
                     str(self.far.pid), check=False)
        if made.status:
            pytest.skip(f"no pairs of network devices here: {made.err.strip()}")
        for process, address in ((self.near, self.near_address), (self.far, self.address)):
            self.ip(process, "address", "add", f"{address}/24", "dev", "wire")
            self.ip(process, "link", "set", "wire", "up")
        listener = in_network(self.far.pid, lambda: socket.create_server((self.address, port)))
        self.relay = Relay(listener, port)

    def network(self):
        """Empty; the child says so when it is there."""
        child = self.s.start("unshare", "--net", "sh", "-c", "echo; exec sleep 600", stdout=-1)
        if not select.select([child.stdout], [], [], 20)[0] or not child.stdout.read(1):
            pytest.skip("networks of one's own cannot be made here")
        return child

    def ip(self, process, *words):
        self.s.run("nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", *words)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.relay.close()

    def drop(self):
        """Whatever the far end sends is thrown away; it says nothing about that."""
        self.ip(self.far, "route", "add", "blackhole", f"{self.near_address}/32")

    def join(self):
        self.ip(self.far, "route", "del", "blackhole", f"{self.near_address}/32")
