# SPDX-License-Identifier: Apache-2.0
"""A TCP connection whose bytes take their time.

Two threads move bytes, a third one - the connection's own - thinks:

    socket -> reader -> arrivals --.                          .-- departures -> writer -> socket
                                    '-> the connection's own -'

Both queues say when an entry is due.  So a delay costs throughput nothing: nobody sleeps for a piece while others
could move, and any number of pieces is under way at once.  Arrivals also carry calls: what others want of a
connection is done by its own thread, in order, and needs no lock there.

Faults of the network are here: delay, stall, slow drip, and the three ways a connection can end.
"""
import collections
import contextlib
import fcntl
import heapq
import itertools
import os
import select
import socket
import struct
import termios
import threading
import time

from answer import Gone

READ_SIZE = 256 << 10
MAX_ARRIVED = 8 << 20  # bytes nobody has looked at; then the reader waits
MAX_DEPARTING = 4 << 20  # bytes on their way out, and what fits into the delay at MAX_RATE
MAX_RATE = 2_000_000_000  # bytes a second
DRIP_SECONDS = 0.05
FLUSH_SECONDS = 2  # to wait for the peer's kernel before a reset, which would overtake its data


class Link:
    def __init__(self, sock, delay):
        self.sock = sock
        self.delay = delay  # function: seconds, one way
        self.cond = threading.Condition()  # guards what follows
        self.arrivals = collections.deque()  # (due, bytes; empty at the end)
        self.n_arrived = 0
        self.calls = []  # heap of (due, serial, function)
        self.serial = itertools.count()
        self.departures = collections.deque()  # (due, bytes, or a function the writer calls)
        self.n_departing = 0
        self.is_stalled = False
        self.rate = 0  # bytes a second; 0: as fast as possible
        self.ending = None  # "rst", "fin": how it ends
        self.is_flushed_first = False
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable from the end on
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = threading.Thread(target=self.read_all, daemon=True)
        self.writer = threading.Thread(target=self.write_all, daemon=True)

    def start(self):
        self.reader.start()
        self.writer.start()

    # The reader

    def read_all(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        data = b"-"
        while data:
            poll.poll()
            with self.cond:
                self.cond.wait_for(lambda: self.ending or not self.is_stalled and self.n_arrived < MAX_ARRIVED)
                if self.ending:
                    return
            try:
                data = self.sock.recv(READ_SIZE)
            except BlockingIOError:
                continue
            except OSError:  # a reset
                data = b""
            with self.cond:
                self.arrivals.append((time.monotonic() + self.delay(), data))
                self.n_arrived += len(data)
                self.cond.notify_all()

    # The connection's own thread

    def receive(self, wait, only_calls=False):
        """What is due next: bytes (empty at the end) or a call; None if nothing is and @wait is off."""
        with self.cond:
            while True:
                if self.ending:
                    raise Gone
                now = time.monotonic()
                dues = [queue[0][0] for queue in (self.calls, () if only_calls else self.arrivals) if queue]
                if dues and min(dues) <= now:
                    return self.take_locked(now)
                if not wait:
                    return None
                self.cond.wait(min(dues) - now if dues else None)

    def take_locked(self, now):
        if self.calls and self.calls[0][0] <= now:
            return heapq.heappop(self.calls)[2]
        data = self.arrivals.popleft()[1]
        self.n_arrived -= len(data)
        self.cond.notify_all()
        return data

    def call(self, function, seconds=0):
        """Has the connection's own thread call @function in @seconds."""
        with self.cond:
            heapq.heappush(self.calls, (time.monotonic() + seconds, next(self.serial), function))
            self.cond.notify_all()

    def send(self, data):
        with self.cond:
            delay = self.delay()
            room = MAX_DEPARTING + delay * MAX_RATE
            self.cond.wait_for(lambda: self.ending or self.n_departing < room)
            if self.ending:
                raise Gone
            self.departures.append((time.monotonic() + delay, data))
            self.n_departing += len(data)
            self.cond.notify_all()

    def stall_after_that(self):
        """What was sent so far still leaves, then nothing more, and nothing is read."""
        with self.cond:
            self.departures.append((0, self.stall))
            self.cond.notify_all()

    # Anybody

    def stall(self):
        with self.cond:
            self.is_stalled = True

    def resume(self):
        with self.cond:
            self.is_stalled = False
            self.cond.notify_all()

    def close(self, how, is_flushed_first=False):
        """Ends it: "fin" or "rst".  With @is_flushed_first what was sent before still arrives."""
        with self.cond:
            if self.ending is None:
                self.ending, self.is_flushed_first = how, is_flushed_first
                os.eventfd_write(self.wake, 1)
            self.cond.notify_all()

    # The writer, which closes the socket at the end

    def write_all(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        with contextlib.suppress(OSError, Gone):
            while (data := self.next_departure()) is not None:
                if callable(data):
                    data()
                else:
                    self.write(poll, memoryview(data))
        with self.cond:
            self.ending = self.ending or "fin"  # the peer reset it
            os.eventfd_write(self.wake, 1)
            self.cond.notify_all()
        self.reader.join()
        self.end()

    def next_departure(self):
        with self.cond:
            while True:
                now = time.monotonic()
                due = self.departures[0][0] if self.departures else None
                if self.ending and not (self.is_flushed_first and self.departures and not self.is_stalled):
                    return None
                if due is not None and due <= now and not self.is_stalled:
                    return self.departures.popleft()[1]
                self.cond.wait(due - now if due is not None and not self.is_stalled else None)

    def write(self, poll, data):
        total = len(data)
        while data:
            n = max(1, int(self.rate * DRIP_SECONDS)) if self.rate else len(data)
            try:
                n = self.sock.send(data[:n])
            except BlockingIOError:
                # Looked at now and then: an end that does not flush waits for nobody.
                poll.poll(100)
                n = 0
            data = data[n:]
            if self.rate:
                time.sleep(DRIP_SECONDS)
            with self.cond:
                self.cond.wait_for(lambda: not self.is_stalled or self.ending)
                if self.ending and not self.is_flushed_first:
                    raise Gone
        with self.cond:
            self.n_departing -= total
            self.cond.notify_all()

    def end(self):
        if self.ending == "rst":
            if self.is_flushed_first:
                self.wait_for_peer()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()
        with self.cond:
            os.close(self.wake)
            self.wake = -1

    def wait_for_peer(self):
        end = time.monotonic() + FLUSH_SECONDS
        while time.monotonic() < end:
            if not struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4))[0]:
                return
            time.sleep(0.002)
