"""Peers that come and go until standard input ends; then one line of JSON says how they fared.

Each connects, says a line, wants it back and leaves. What is counted as lost is a connection that
was refused, reset or closed before its answer; whoever waits for long is not lost.
"""

import json
import socket
import sys
import threading

HOST, PORT, PEERS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PATIENCE_S = 60
over = threading.Event()
lock = threading.Lock()
counts = {"answered": 0, "refused": 0, "reset": 0, "cut": 0, "late": 0}


def talk():
    line = b"is anybody there\n"
    try:
        with socket.create_connection((HOST, PORT), timeout=PATIENCE_S) as peer:
            peer.sendall(line)
            got = b""
            while len(got) < len(line):
                piece = peer.recv(len(line) - len(got))
                if not piece:
                    return "cut"
                got += piece
            return "answered"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except TimeoutError:
        return "late"


def come_and_go():
    while not over.is_set():
        outcome = talk()
        with lock:
            counts[outcome] += 1


peers = [threading.Thread(target=come_and_go) for _ in range(PEERS)]
for peer in peers:
    peer.start()
print("begun", flush=True)
sys.stdin.read()
over.set()
for peer in peers:
    peer.join()
print(json.dumps(counts), flush=True)
