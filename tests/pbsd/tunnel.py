# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 inside an upgraded connection: the reader protocol.

The h2 library keeps the states, windows and headers.  Bodies pass it by: it is told how long a DATA frame is, and
the frame is written from the file in pieces, because h2 would copy each body three times.
"""
import collections
import itertools
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import DataFrame, GoAwayFrame, SettingsFrame

import http1
import rest
from answer import Answer, BytesBody, Refused
from store import HandlerCrash

WINDOW = 32 << 20
MAX_FRAME = 4 << 20  # also of what is sent, whatever the client allows
MAX_STREAMS = 200  # 4.x
MAX_HEADERS = {3: 16 << 20, 4: 16 << 10}
MAX_RESETS = 20  # 4.x: of streams without an answer, within RESET_SECONDS
RESET_SECONDS = 1  # the real server counts those it has not looked at yet; this does not depend on its speed
MAX_STREAM_NUMBER = 0x7fffffff
SPEEDTEST = b"A" * (1 << 20)
NO_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 7, 8, 11

S = h2.settings.SettingCodes


class Part:
    """The next @n bytes of a body, for h2, which only wants to know how many they are."""

    def __init__(self, body, n):
        self.body = body
        self.n = n

    def __len__(self):
        return self.n


class Frames(h2.connection.H2Connection):
    """Frames leave through @outbox: bytes, and Parts of bodies."""

    def __init__(self, version):
        super().__init__(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.outbox = []
        # Neither the number of streams nor the size of headers is h2's business: it would end the connection.
        shown = {S.INITIAL_WINDOW_SIZE: WINDOW, S.MAX_FRAME_SIZE: MAX_FRAME}
        self.local_settings = h2.settings.Settings(client=False, initial_values=shown)
        self.max_inbound_frame_size = MAX_FRAME
        self.decoder.max_header_list_size = MAX_HEADERS[3]
        limit = {S.MAX_CONCURRENT_STREAMS: MAX_STREAMS} if version == 4 else {}
        settings = SettingsFrame(0)
        settings.settings = {**limit, **shown, S.MAX_HEADER_LIST_SIZE: MAX_HEADERS[version]}
        self.outbox.append(settings.serialize())
        self.increment_flow_control_window(WINDOW - self.inbound_flow_control_window)

    def _prepare_for_sending(self, frames):
        for frame in frames or ():
            if isinstance(frame, DataFrame):
                frame.body_len = len(frame.data)
                self.outbox.append(data_frame_head(frame))
                self.outbox.append(frame.data)
            else:
                self.outbox.append(frame.serialize())

    def goaway(self, code, last, text=b""):
        """As a frame only: the streams that are open go on."""
        self.outbox.append(GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=text).serialize())


def data_frame_head(frame):
    """RFC 9113 section 4.1"""
    flags = 1 if "END_STREAM" in frame.flags else 0
    return frame.body_len.to_bytes(3, "big") + bytes([0, flags]) + frame.stream_id.to_bytes(4, "big")


class Stream:
    """One request, and the way to answer it."""

    def __init__(self, tunnel, number, headers):
        self.tunnel = tunnel
        self.connection = tunnel.connection
        self.number = number
        self.headers = dict(headers)
        self.method = self.headers.get(":method", "")
        self.target = self.headers.get(":path", "")
        self.size = sum(len(name) + len(value) + 32 for name, value in headers)  # RFC 9113 section 6.5.2
        self.body = None  # what is still to be sent
        self.is_answered = False

    def real_answer(self):
        tunnel = self.tunnel
        if self.size > MAX_HEADERS[tunnel.server.version]:
            return Answer(431, BytesBody(b""))
        try:
            answer = tunnel.called(self)
        except Refused as why:
            return rest.refusal(tunnel.server, why)
        if "deflate" in self.headers.get("accept-encoding", "") and not answer.has_length:
            http1.deflate(answer, tunnel.server.version)
        return answer

    def respond(self, answer):
        if answer.wait:
            self.connection.link.call(lambda: self.respond_now(answer), answer.wait)
        else:
            self.respond_now(answer)

    def respond_now(self, answer):
        # It was reset meanwhile, or is one that GOAWAY disowned.
        if self.number not in self.tunnel.streams or self.number > self.tunnel.last:
            answer.body.close()
            return
        headers = [(":status", str(answer.status))]
        if answer.content_type:
            headers.append(("content-type", answer.content_type))
        headers.append(("date", http1.http_date()))
        if answer.has_length and answer.length:
            headers.append(("content-length", str(answer.length)))
        headers += answer.headers
        self.is_answered = True
        self.tunnel.start(self, headers, answer.body)

    def respond_later(self, make, seconds):
        self.connection.link.call(lambda: self.tunnel.attempt(self, lambda: self.respond(make())), seconds)

    def send_raw(self, data):
        """Instead of a frame."""
        self.tunnel.frames.outbox.append(data)

    def ignore(self):
        """Stays open and is never answered."""

    def reset(self, code):
        self.tunnel.reset(self, code)


class Tunnel:
    def __init__(self, connection, session):
        self.connection = connection
        self.server = connection.server
        self.session = session
        self.frames = Frames(self.server.version)
        self.streams = {}  # open ones, by number
        self.sending = collections.deque()  # those with a body, next one first
        self.waiting = []  # those whose window is used up
        self.resets = collections.deque()  # times
        self.last = MAX_STREAM_NUMBER  # later ones get no answer
        self.is_over = False

    def close(self):
        for stream in self.streams.values():
            if stream.body:
                stream.body.close()

    def run(self, early):
        """@early: what came behind the upgrade"""
        self.server.counters.add("sessions")
        self.take_in(early)
        while not self.is_over:
            self.take_in(self.connection.receive(wait=not self.sending))
            if self.sending:
                self.send_frame(self.sending.popleft())
            self.flush()

    # In

    def take_in(self, data):
        try:
            events = self.frames.receive_data(data) if data else ()
        except h2.exceptions.ProtocolError:
            events = ()
            self.is_over = True  # h2 has put GOAWAY into the outbox
        for event in events:
            self.handle(event)
        self.flush()

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.open(Stream(self, event.stream_id, event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.saw_reset(event.stream_id)
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self.sending.extend(self.waiting)
            self.waiting.clear()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.frames.goaway(NO_ERROR, self.frames.highest_inbound_stream_id)
            self.is_over = True

    def open(self, stream):
        n_open = len(self.streams)
        self.streams[stream.number] = stream
        self.server.counters.saw_request(stream.target)
        self.server.counters.highest("peak-streams", len(self.streams))
        if self.server.version == 4 and n_open >= MAX_STREAMS:
            self.reset(stream, REFUSED_STREAM)
            return
        self.attempt(stream, lambda: self.server.faults.serve(stream))

    def attempt(self, stream, function):
        try:
            function()
        except HandlerCrash:
            self.reset(stream, CANCEL)

    def saw_reset(self, number):
        self.server.counters.add("resets-seen")
        stream = self.streams.get(number)
        if stream:
            self.drop(stream)
            if not stream.is_answered:
                self.resets.append(time.monotonic())
        while self.resets and self.resets[0] < time.monotonic() - RESET_SECONDS:
            self.resets.popleft()
        if self.server.version == 4 and len(self.resets) >= MAX_RESETS:
            self.frames.goaway(ENHANCE_YOUR_CALM, self.frames.highest_inbound_stream_id, b"too_many_resets")
            self.is_over = True

    # Requests

    def called(self, stream):
        path, _, query = stream.target.partition("?")
        parts = rest.components_of(path)
        function = {"": self.directory, "download": self.download, "chunk": self.chunk,
                    "speedtest": self.speedtest}.get("/".join(parts))
        if not function or stream.method != "GET":
            raise Refused(404, f"Path '/{'/'.join(parts)}' not found.")
        return function(rest.pairs_of(query))

    def verified(self, pairs, *needed):
        try:
            return rest.verified(pairs, needed, (), self.server.version)
        except Refused as why:
            why.is_typed = False
            raise

    def directory(self, pairs):
        self.verified(pairs)
        return rest.json_answer([{"subdir": name} for name in ("chunk", "download", "speedtest")])

    def download(self, pairs):
        name = self.verified(pairs, "file-name")["file-name"]
        return Answer(200, self.session.download(name), "application/octet-stream", has_length=False)

    def chunk(self, pairs):
        digest = self.verified(pairs, "digest")["digest"]
        self.server.counters.saw_chunk(digest)
        return Answer(200, self.session.chunk(digest), "application/octet-stream")

    def speedtest(self, pairs):
        self.verified(pairs)
        return Answer(200, BytesBody(SPEEDTEST), "application/octet-stream")

    # Out

    def start(self, stream, headers, body):
        try:
            self.frames.send_headers(stream.number, headers, end_stream=not body.left)
        except h2.exceptions.ProtocolError:  # the client reset it just now; that event comes next
            body.close()
            return
        stream.body = body
        if body.left:
            self.sending.append(stream)
        else:
            self.drop(stream)

    def send_frame(self, stream):
        """One frame of a body; who has more to send goes to the end of the line."""
        n = min(stream.body.left, MAX_FRAME, self.frames.max_outbound_frame_size,
                self.frames.local_flow_control_window(stream.number))
        if n <= 0:
            self.waiting.append(stream)
            return
        is_last = n == stream.body.left
        self.frames.send_data(stream.number, Part(stream.body, n), end_stream=is_last)
        self.flush()
        if is_last:
            self.drop(stream)
        else:
            self.sending.append(stream)

    def flush(self):
        outbox, self.frames.outbox = self.frames.outbox, []
        for is_part, pieces in itertools.groupby(outbox, lambda piece: isinstance(piece, Part)):
            if not is_part:
                self.connection.write(b"".join(pieces))
                continue
            for part in pieces:
                self.connection.write_body(part.body, part.n)

    def reset(self, stream, code):
        self.drop(stream)
        self.frames.reset_stream(stream.number, code)

    def drop(self, stream):
        """Nothing more is sent for it."""
        self.streams.pop(stream.number, None)
        for queue in (self.sending, self.waiting):
            if stream in queue:
                queue.remove(stream)
        if stream.body:
            stream.body.close()

    def goaway(self, code, last):
        self.last = self.frames.highest_inbound_stream_id if last is None else last
        self.frames.goaway(code, self.last)
        self.flush()
