"""Sends lines of standard input as datagrams to udp://HOST:PORT or unixgram:NAME, and prints what
comes back.

Each must come back as it was sent, from the address that it was sent to, before the next one goes. A
second argument is the name to have on a Unix socket; without it the kernel gives an abstract one.
"""

import socket
import sys


def name(text):
    return text.replace("@", "\0", 1).encode() if text.startswith("@") else text


scheme, _, rest = sys.argv[1].partition(":")
if scheme == "udp":
    host, _, port = rest.removeprefix("//").rpartition(":")
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to = (host, int(port))
else:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    # An empty name asks the kernel for one.
    peer.bind(name(sys.argv[2]) if len(sys.argv) > 2 else "")
    to = name(rest)
peer.settimeout(60)
for line in sys.stdin.buffer:
    peer.sendto(line, to)
    answer, source = peer.recvfrom(65536)
    assert source == to, source
    sys.stdout.buffer.write(answer)
