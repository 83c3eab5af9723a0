"""Sends HTTP/2 requests without validation, one after the other, and prints the responses.

Input on stdin: {"port", "requests": [{"fields": [[name, value], ...], "body": text or null}]}, with text in latin1. Output on
stdout: a list with {"status", "fields", "body"}, {"reset": name} or {"closed": name} for each request. The name is the error
code of RST_STREAM, or of the GOAWAY that ended the connection. The next request then uses a new connection.
"""

import json
import socket
import sys

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
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
FRAME_BYTES = 16_384
SECONDS = 60


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_header_list_size = 2**20
        self.next_stream = 1
        self.buffer = b""
        self.is_open = True
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: LARGEST_WINDOW})
        window = WindowUpdateFrame(0, window_increment=LARGEST_WINDOW - DEFAULT_WINDOW)
        self.socket.sendall(PREFACE + settings.serialize() + window.serialize())

    def send(self, request):
        stream = self.next_stream
        self.next_stream += 2
        body = request["body"]
        block = self.encode(request["fields"])
        pieces = [block[start : start + FRAME_BYTES] for start in range(0, len(block), FRAME_BYTES)] or [b""]
        frames = [HeadersFrame(stream, pieces[0])]
        frames += [ContinuationFrame(stream, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        if body is None:
            frames[0].flags.add("END_STREAM")
        else:
            frames.append(DataFrame(stream, body.encode("latin1"), flags=["END_STREAM"]))
        try:
            self.socket.sendall(b"".join(frame.serialize() for frame in frames))
        except OSError:
            pass  # data that the server sent before can still be read
        return self.receive(stream)

    def encode(self, fields):
        """Encodes without Huffman coding and the dynamic table, so that every byte is sent as it is."""
        octets = [(name.encode("latin1"), value.encode("latin1")) for name, value in fields]
        return self.encoder.encode([(*pair, True) for pair in octets], huffman=False)

    def receive(self, stream):
        response = {"status": None, "fields": [], "body": ""}
        for frame in self.frames():
            if isinstance(frame, GoAwayFrame):
                self.is_open = False
                if frame.last_stream_id < stream or frame.error_code != 0:
                    return {"closed": ErrorCodes(frame.error_code).name}
            elif frame.stream_id != stream:
                continue
            elif isinstance(frame, RstStreamFrame):
                return {"reset": ErrorCodes(frame.error_code).name} if response["status"] is None else response
            elif isinstance(frame, HeadersFrame):
                fields = [(name, value) for name, value in self.decoder.decode(frame.data)]
                status = int(dict(fields)[":status"])
                if status >= 200:
                    response["status"] = status
                    response["fields"] = [pair for pair in fields if pair[0] != ":status"]
            elif isinstance(frame, DataFrame):
                response["body"] += frame.data.decode("latin1")
            if "END_STREAM" in frame.flags and frame.stream_id == stream:
                return response
        self.is_open = False
        return {"closed": "without GOAWAY"}

    def frames(self):
        while True:
            while len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) < 9 + length:
                    break
                frame.parse_body(memoryview(self.buffer[9 : 9 + length]))
                self.buffer = self.buffer[9 + length :]
                if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                    self.socket.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
                if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                    self.socket.sendall(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
                yield frame
            try:
                chunk = self.socket.recv(65_536)
            except ConnectionError:
                return
            if not chunk:
                return
            self.buffer += chunk


def main():
    task = json.load(sys.stdin)
    connection = None
    results = []
    for request in task["requests"]:
        if connection is None or not connection.is_open:
            connection = Connection(task["port"])
        results.append(connection.send(request))
    json.dump(results, sys.stdout)


main()
