"""Sends lines of standard input as datagrams to udp://HOST:PORT, and prints what comes back.

Each must come back as it was sent, from the address that it was sent to, before the next one goes.
"""

import socket
import sys

host, _, port = sys.argv[1].removeprefix("udp://").rpartition(":")
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.settimeout(60)
for line in sys.stdin.buffer:
    peer.sendto(line, (host, int(port)))
    answer, source = peer.recvfrom(65536)
    assert source == (host, int(port)), source
    sys.stdout.buffer.write(answer)
