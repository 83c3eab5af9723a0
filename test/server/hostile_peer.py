"""HTTP/2 client that can send any frame (RFC 9113), and records the frames of the server."""

import select
import socket
import ssl
import time
from collections import Counter

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
# Maximum number of queued bytes that the kernel has not accepted yet.
MAX_QUEUED = 64 * 1024
# Maximum number of bytes to record from a server that does not speak HTTP/2.
MAX_TEXT = 4096


def error_name(code):
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)


class Peer:
    """One connection. Times are in seconds since it was opened."""

    def __init__(self, options):
        self.options = options
        self.acks_settings = True
        self.answers_pings = True
        # Whether received bytes are added back to the connection window and to the stream windows.
        self.grants_connection = True
        self.grants_streams = True
        self.speaks_http2 = True
        self.received = Counter()
        self.sent = Counter()
        self.resets = Counter()
        self.goaways = []
        self.streams = {}
        self.settings = {}
        self.text = b""
        self.error = None
        self.bytes_read = 0
        self.bytes_written = 0
        self.closed_at = None
        self.closed_by = None
        self.next_stream = 1
        self.on_goaway = lambda goaway: None
        self._out = bytearray()
        self._in = bytearray()
        self._can_write = True
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._connect()
        self.started = time.monotonic()

    def _connect(self):
        options = self.options
        self._socket = socket.socket()
        if options.receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
        self._socket.settimeout(options.seconds)
        self._socket.connect((options.host, options.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._socket.setblocking(False)

    # Sending

    def begin(self, settings=None):
        """Sends the preface and the first SETTINGS."""
        self.raw(PREFACE)
        self.send(SettingsFrame(0, settings or {}))

    def begin_with_window(self, window):
        """Like `begin`, with the largest connection window and `window` as the initial stream window."""
        self.begin({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.send(WindowUpdateFrame(0, LARGEST_WINDOW - DEFAULT_WINDOW))

    def send(self, *frames):
        for frame in frames:
            self.sent[type(frame).__name__.removesuffix("Frame")] += 1
            self._out += frame.serialize()

    def raw(self, data):
        self._out += data

    def headers(self, method="GET", path=None, more=()):
        authority = f"{self.options.host}:{self.options.port}"
        scheme = "https" if self.options.tls else "http"
        path = path or self.options.path
        pseudo = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
        return self._encoder.encode([*pseudo, *more])

    def open(self, flags=("END_HEADERS", "END_STREAM"), **request):
        """Sends a request. Returns its stream id."""
        stream = self.next_stream
        self.next_stream += 2
        self.send(HeadersFrame(stream, self.headers(**request), flags=flags))
        self.streams[stream] = {"openedAt": self.now(), "status": None, "bytes": 0, "endedAt": None, "reset": None}
        return stream

    def grant(self, stream, increment):
        self.send(WindowUpdateFrame(stream, increment))

    # Event loop

    def now(self):
        return round(time.monotonic() - self.started, 4)

    @property
    def is_over(self):
        return self.closed_at is not None or self.now() >= self.options.seconds

    @property
    def has_room(self):
        return len(self._out) < MAX_QUEUED

    def pump(self, timeout=0.0, reads=True, most=65_536):
        """Sends and receives what is possible now, after waiting for at most `timeout` seconds."""
        if self.closed_at is not None:
            return
        if reads and self._pending():
            timeout = 0
        reading = [self._socket] if reads else []
        writing = [self._socket] if self._out and self._can_write else []
        if not reading and not writing:
            self._notice_reset(timeout)
            return
        readable, writable, _ = select.select(reading, writing, [], timeout)
        if writable:
            self._write()
        if readable or (reads and self._pending()):
            self._read(most)

    def wait(self, seconds, **how):
        """Pumps for `seconds`, or until the connection or the time limit ends."""
        until = self.now() + seconds
        while not self.is_over and self.now() < until:
            self.pump(max(0.0, min(0.05, until - self.now())), **how)

    def flood(self, send_once, reads=True):
        """Calls `send_once` repeatedly, as fast as the server reads or as the options allow."""
        repetitions = 0
        rate, count = self.options.rate, self.options.count
        while not self.is_over and (count is None or repetitions < count):
            allowed = float("inf") if rate is None else int(self.now() * rate) + 1
            while self.has_room and repetitions < allowed and (count is None or repetitions < count):
                send_once()
                repetitions += 1
            self.pump(0.01 if repetitions >= allowed or not self.has_room else 0.0, reads=reads)
        while not self.is_over:
            self.pump(0.05, reads=reads)

    def _pending(self):
        return self.options.tls and self._socket.pending() > 0

    def _notice_reset(self, timeout):
        """Detects a reset without reading: poll(2) reports it even without requested events."""
        poll = select.poll()
        poll.register(self._socket, 0)
        if poll.poll(timeout * 1000):
            self._end("reset")

    def _write(self):
        try:
            written = self._socket.send(self._out)
            self.bytes_written += written
            del self._out[:written]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (OSError, ssl.SSLError):
            # Data that the server sent before it closed the connection can still be read.
            self._can_write = False

    def _read(self, most):
        try:
            data = self._socket.recv(most)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLEOFError:
            data = b""
        except (OSError, ssl.SSLError):
            self._end("reset")
            return
        if not data:
            self._end("end")
            return
        self.bytes_read += len(data)
        if self.speaks_http2:
            self._in += data
            self._parse()
        elif len(self.text) < MAX_TEXT:
            self.text += data[: MAX_TEXT - len(self.text)]

    def _end(self, how):
        self.closed_at = self.now()
        self.closed_by = how

    # Receiving

    def _parse(self):
        while len(self._in) >= 9 and self.error is None:
            length = int.from_bytes(self._in[:3], "big")
            if len(self._in) < 9 + length:
                return
            try:
                frame, _ = Frame.parse_frame_header(memoryview(bytes(self._in[:9])))
                frame.parse_body(memoryview(bytes(self._in[9 : 9 + length])))
                del self._in[: 9 + length]
                self._handle(frame)
            except (HyperframeError, HPACKError, ProtocolError) as error:
                self.error = f"{type(error).__name__}: {error}"

    def _handle(self, frame):
        self.received[type(frame).__name__.removesuffix("Frame")] += 1
        stream = self.streams.get(frame.stream_id)
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.settings.update(frame.settings)
            if self.acks_settings:
                self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags and self.answers_pings:
            self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            goaway = {"at": self.now(), "code": error_name(frame.error_code), "lastStreamId": frame.last_stream_id}
            self.goaways.append(goaway)
            self.on_goaway(goaway)
        elif isinstance(frame, RstStreamFrame):
            self.resets[error_name(frame.error_code)] += 1
            if stream is not None:
                stream["reset"] = error_name(frame.error_code)
        elif isinstance(frame, HeadersFrame):
            fields = dict(self._decoder.decode(frame.data))
            if stream is not None and ":status" in fields:
                stream["status"] = int(fields[":status"])
        elif isinstance(frame, DataFrame) and frame.flow_controlled_length > 0:
            if stream is not None:
                stream["bytes"] += len(frame.data)
            if self.grants_connection:
                self.grant(0, frame.flow_controlled_length)
            if self.grants_streams and "END_STREAM" not in frame.flags:
                self.grant(frame.stream_id, frame.flow_controlled_length)
        if "END_STREAM" in frame.flags and stream is not None:
            stream["endedAt"] = self.now()

    def report(self):
        streams = [{"id": number, **stream} for number, stream in self.streams.items()]
        return {
            "seconds": self.now(),
            "closedAt": self.closed_at,
            "closedBy": self.closed_by,
            "bytesRead": self.bytes_read,
            "bytesWritten": self.bytes_written,
            "received": dict(self.received),
            "sent": dict(self.sent),
            "goaways": self.goaways,
            "resets": dict(self.resets),
            "settings": {code.name: self.settings[code] for code in SettingCodes if code in self.settings},
            "streams": streams[: self.options.most_streams],
            "statuses": dict(Counter(str(stream["status"]) for stream in streams if stream["status"] is not None)),
            "text": self.text.decode("latin1"),
            "error": self.error,
        }
