#!/bin/sh
# Sees to what building and testing need, before anything is built.
#
# What Debian has is installed when this runs as root; otherwise the command to run is printed. Rust
# is never installed from here: a missing or old toolchain is named, with the command that mends it.
set -eu

rust_least=1.88
rustup='curl --proto "=https" --tlsv1.2 -sSf https://sh.rustup.rs | sh'

missing=
# A program, or the path of a file. Some programs are not on everybody's path.
need() {
    case $1 in
        /*) test -e "$1" ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 ;;
    esac || missing="$missing $2"
}

need cc gcc
need c++ g++
need make make
for word in "$@"; do
    need "${word%%:*}" "${word##*:}"
done

if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing:$missing"
        # shellcheck disable=SC2086
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends $missing; } >/dev/null || {
            echo "apt-get could not install:$missing" >&2
            exit 1
        }
    else
        echo "missing; run this first:" >&2
        echo "  sudo apt-get install -y$missing" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
    echo "there is no Rust toolchain; install one (it goes to your home directory):" >&2
    echo "  $rustup" >&2
    echo "then open a new shell, or run: . \"\$HOME/.cargo/env\"" >&2
    exit 1
fi

rust=$(rustc --version | cut -d' ' -f2)
oldest=$(printf '%s\n%s\n' "$rust_least" "${rust%%-*}" | sort -V | head -n 1)
if [ "$oldest" != "$rust_least" ]; then
    echo "Rust $rust is too old; Polyport needs $rust_least or newer:" >&2
    if command -v rustup >/dev/null 2>&1; then
        echo "  rustup update stable && rustup default stable" >&2
    else
        echo "  $rustup" >&2
        echo "(the toolchain of your distribution can stay beside it)" >&2
    fi
    exit 1
fi
