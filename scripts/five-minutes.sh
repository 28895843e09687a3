#!/bin/sh
# How long a newcomer waits for the machine: from `polyport new-plugin` through the build and its test
# to an answer on a port, for each language and style. Reading and typing are not in it.
#
# It needs the installed program, a compiler, make, curl and bash; neither Polyport's sources nor a network,
# for which cargo is given an empty home and told to stay offline. Everything is made in a folder of its
# own, which is gone afterwards.
#
#     scripts/five-minutes.sh [PATH-TO-POLYPORT]
set -eu

polyport=${1:-$(command -v polyport || true)}
if [ ! -x "$polyport" ]; then
    echo "no polyport on the path; name one: $0 target/release/polyport" >&2
    exit 1
fi
polyport=$(realpath "$polyport")
for program in cc make curl bash; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done

place=$(mktemp -d)
serving=
leave() {
    test -z "$serving" || kill -INT "$serving" 2>/dev/null || true
    rm -rf "$place"
}
trap leave EXIT
trap 'exit 1' INT TERM
cd "$place"

# A rustup toolchain is found by its own home, which is not the empty one that cargo gets.
export RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
export CARGO_HOME="$place/cargo" CARGO_NET_OFFLINE=true
unset CARGO_TARGET_DIR MAKEFLAGS MAKELEVEL || true

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# The words of a log, as soon as they are there; the program that writes it may end first.
address_in() {
    while ! grep -o '127\.0\.0\.1:[0-9]*' "$1" 2>/dev/null | head -n 1 | grep .; do
        kill -0 "$serving" 2>/dev/null || { cat "$1" >&2; exit 1; }
        sleep 0.05
    done
}

# curl's telnet is a plain connection with our lines on it; for datagrams bash has a file.
ask() {
    case $1 in
        datagram) timeout 10 bash -c "exec 3<>/dev/udp/${2%:*}/${2##*:}; echo one >&3; head -n 1 <&3" ;;
        *) printf 'one\n\n' | curl --silent --max-time 10 "telnet://$2" ;;
    esac
}

try_one() {
    lang=$1 style=$2 name=my-$2-$1
    began=$(now_ms)
    "$polyport" new-plugin "$name" --lang "$lang" --style "$style" >/dev/null
    make -C "$name" test POLYPORT="$polyport" >"$name.log" 2>&1 || { cat "$name.log" >&2; exit 1; }
    case $style in datagram) transport=udp ;; *) transport=tcp ;; esac
    "$polyport" try "$name/build/$name.so" --listen "$transport://127.0.0.1:0" >"$name.out" 2>&1 &
    serving=$!
    address=$(address_in "$name.out")
    answer=$(ask "$style" "$address")
    took=$(($(now_ms) - began))
    kill -INT "$serving"
    wait "$serving" || true
    serving=
    case $answer in
        *ONE*) ;;
        *) echo "$name answered otherwise: $answer" >&2; exit 1 ;;
    esac
    printf '%-5s %-9s %d.%d s from new-plugin to an answer\n' \
        "$lang" "$style" $((took / 1000)) $((took % 1000 / 100))
}

for lang in c rust; do
    if [ $lang = rust ] && ! command -v cargo >/dev/null; then
        echo "rust  not tried: there is no cargo"
        continue
    fi
    for style in event blocking datagram; do
        try_one $lang $style
    done
done
