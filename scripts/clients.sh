#!/bin/sh
# Puts the gopher clients that Debian does not have to target/clients, where the tests look for them:
# phetch from crates.io and Pituophis from PyPI, each in the one version that they are written for.
#
# Nothing outside target/ is touched. What is there already is left as it is, so that a run without a
# network works once they are.
set -eu

phetch=1.2.0
pituophis=1.1

cd "$(dirname "$0")/.."
clients=$PWD/target/clients
mkdir -p "$clients"

failed() {
    echo "$1 could not be installed, and the tests need it; run this again with a network:" >&2
    echo "  ./scripts/clients.sh" >&2
    exit 1
}

if ! "$clients/bin/phetch" --version 2>/dev/null | grep -q "$phetch"; then
    echo "installing phetch $phetch to $clients"
    # Without TLS and Tor it needs nothing of the system. Its target folder is not the project's.
    cargo install --quiet --locked --no-default-features --version "$phetch" --root "$clients" \
        --target-dir "$clients/build" phetch || failed phetch
    rm -rf "$clients/build"
fi

if ! test -d "$clients/python/Pituophis-$pituophis.dist-info"; then
    echo "installing Pituophis $pituophis to $clients"
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --root-user-action=ignore --target "$clients/python" "Pituophis==$pituophis" || failed Pituophis
fi
