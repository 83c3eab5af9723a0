"""Clients of HTTP/1.1 that read one byte a second, with the smallest receive buffers there are, until standard input ends.

Usage: slow_readers.py PORT PATH COUNT. Prints "ready" when each has the beginning of its answer, and at the end how many
connections were still open.
"""

import select
import socket
import sys
import time

port, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
clients = []
for _ in range(count):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    # As over a network. The kernel buffers some segments for each connection: with the loopback's, of 64 KiB, that would be
    # 2.3 MiB, and all together more than TCP may have (net.ipv4.tcp_mem), so that it throttles everybody.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    clients.append(client)
for client in clients:
    assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
print("ready", flush=True)

alive = set(clients)
while not select.select([sys.stdin], [], [], 0)[0]:
    begun = time.monotonic()
    for client in list(alive):
        try:
            if client.recv(1, socket.MSG_DONTWAIT) == b"":
                alive.discard(client)
        except BlockingIOError:
            pass
        except OSError:
            alive.discard(client)
    select.select([sys.stdin], [], [], max(0, 1 - (time.monotonic() - begun)))
print(len(alive), flush=True)
