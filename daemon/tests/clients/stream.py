"""Sends standard input to tcp://HOST:PORT or unix:NAME, and prints what comes back to its end."""

import socket
import sys
import threading

scheme, _, rest = sys.argv[1].partition(":")
if scheme == "tcp":
    host, _, port = rest.removeprefix("//").rpartition(":")
    peer = socket.create_connection((host, int(port)), timeout=60)
else:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(rest.replace("@", "\0", 1) if rest.startswith("@") else rest)


def send():
    peer.sendall(sys.stdin.buffer.read())
    peer.shutdown(socket.SHUT_WR)


sender = threading.Thread(target=send)
sender.start()
with peer.makefile("rb") as answers:
    sys.stdout.buffer.write(answers.read())
sender.join()
