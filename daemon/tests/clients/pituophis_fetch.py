"""Fetches a gopher URL with Pituophis; of a menu it prints what it has parsed, of others the bytes."""

import sys

import pituophis

request = pituophis.parse_url(sys.argv[1])
response = request.get()
if request.type in "17":
    for item in response.menu():
        print(item.type, item.text, item.path, item.host, int(item.port), sep="\t")
else:
    sys.stdout.buffer.write(response.binary)
