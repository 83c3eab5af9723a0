"""HTTP/1.1 clients that read one byte per second, with the smallest receive buffers, until standard input ends.

Usage: slow_readers.py PORT PATH COUNT. Prints "ready" when each client has the start of its response, and at the end the
number of connections that are still open.
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
    # The segment size of Ethernet. The kernel buffers several segments per connection: with the loopback's 64 KiB that is
    # 2.3 MiB, and all connections together exceed net.ipv4.tcp_mem, so that the kernel throttles every connection.
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
