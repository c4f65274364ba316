# SPDX-License-Identifier: Apache-2.0
"""One connection: TLS over a link, and the life from the first byte to the last.

All of it runs in the connection's own thread, but for what the docstrings say.
"""
import ssl
import sys
import threading
import traceback

from answer import Gone
from http1 import Http1, answer_plain_http
from link import Link
from tunnel import Tunnel

TLS_HANDSHAKE = 0x16  # first byte of a record, RFC 8446 section 5.1
PIECE = 128 << 10  # bytes: read, encrypted and sent while they are in the processor's cache


class Fuse:
    """Something that happens when so many more bytes of bodies were sent."""

    def __init__(self, left, blow):
        self.left = left
        self.blow = blow


class Connection:
    def __init__(self, server, sock, number):
        self.server = server
        self.number = number
        self.link = Link(sock, server.delay)
        self.fuse = None
        self.session = None  # of a reader, from the upgrade on
        self.tunnel = None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = None
        self.thread = threading.Thread(target=self.run, name=f"connection-{number}", daemon=True)

    def start(self):
        self.link.start()
        self.thread.start()

    def run(self):
        how = "fin"
        try:
            self.live()
        except (Gone, ssl.SSLError):
            pass
        except Exception:  # pylint: disable=broad-except
            print(f"connection {self.number}:", file=sys.stderr)
            traceback.print_exc()
            how = "rst"
        finally:
            if self.tunnel:
                self.tunnel.close()
            if self.session:
                self.session.close()
            self.link.close(how, is_flushed_first=True)
            self.server.forget(self)

    def live(self):
        self.server.faults.apply("connect", self)
        first = self.arrived()
        if first[0] != TLS_HANDSHAKE:
            answer_plain_http(self, first)
            return
        self.incoming.write(first)
        self.shake_hands()
        early = Http1(self).serve()
        if self.session:
            self.tunnel = Tunnel(self, self.session)
            self.tunnel.run(early)
        self.end_tls()

    # TLS

    def shake_hands(self):
        self.tls = self.server.tls_context().wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.arrived())
            finally:
                self.flush()

    def arrived(self):
        """The next bytes of the network."""
        while True:
            data = self.link.receive(wait=True)
            if callable(data):
                data()
            elif data:
                return data
            else:
                raise Gone

    def receive(self, wait=True):
        """What came, in the clear; empty when nothing was there, or only a call was made."""
        data = self.link.receive(wait)
        if data is None:
            return b""
        if callable(data):
            data()
            return b""
        if not data:
            raise Gone
        self.incoming.write(data)
        return self.decrypt()

    def decrypt(self):
        pieces = []
        try:
            while True:
                piece = self.tls.read(1 << 16)
                if not piece:
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.link.call(self.leave)
        self.flush()
        return b"".join(pieces)

    def leave(self):
        """The peer closed TLS: what it asked before was done, now answer in kind."""
        self.end_tls()
        raise Gone

    def end_tls(self):
        try:
            self.tls.unwrap()
        except ssl.SSLError:  # the peer's own end is not waited for
            pass
        self.flush()

    def flush(self):
        if self.outgoing.pending:
            self.link.send(self.outgoing.read())

    def write(self, data):
        self.tls.write(data)
        self.flush()

    # Bodies, and what may happen in the middle of one

    def write_body(self, body, n):
        """@n bytes of @body; here a fuse burns."""
        while n:
            size = min(n, PIECE)
            if self.fuse:
                size = min(size, self.fuse.left)
            if size:
                self.write(body.take(size))
                n -= size
                self.server.counters.add("body-bytes", size)
            self.burn(size)

    def burn(self, size):
        if self.fuse:
            self.fuse.left -= size
            if self.fuse.left <= 0:
                fuse, self.fuse = self.fuse, None
                fuse.blow()

    def set_fuse(self, left, blow):
        """Any thread: @blow is called by the connection's own when @left more bytes of bodies were sent."""
        self.fuse = Fuse(left, blow)
        self.link.call(lambda: self.burn(0))

    def cut(self, how):
        if how == "tls" and self.tls:
            self.end_tls()
        self.link.close("rst" if how == "rst" else "fin", is_flushed_first=True)
        raise Gone

    def sleep(self, seconds):
        """Lets time pass for this connection alone; calls are made meanwhile, bytes wait."""
        is_over = []
        self.link.call(lambda: is_over.append(True), seconds)
        while not is_over:
            self.link.receive(wait=True, only_calls=True)()
