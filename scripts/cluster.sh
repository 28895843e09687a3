#!/bin/sh
# Three nodes on this machine's loopback and a NATS server between them: one chat for all.
#
#   scripts/cluster.sh FOLDER [PORT [PLACE]]
#
# FOLDER has the program and the plugins. The nodes listen on PORT + 1 to PORT + 3, the server on PORT.
# What they write lies in PLACE. Ctrl-C ends all of them, the server last. A node that ends before, as one
# that somebody kills to see what the others make of it, is started again after a while.
set -eu

folder=$1
port=${2:-7780}
place=${3:-run/cluster}
PATH="$PATH:/usr/sbin:/sbin"
command -v nats-server >/dev/null 2>&1 || {
    echo "nats-server is missing; run this first:" >&2
    echo "  sudo apt-get install -y nats-server" >&2
    exit 1
}
mkdir -p "$place/nats"

pid1= pid2= pid3=
server=
end() {
    trap '' INT TERM
    for pid in $pid1 $pid2 $pid3; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $pid1 $pid2 $pid3; do wait "$pid" 2>/dev/null || true; done
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
}
all_live() {
    for pid in $pid1 $pid2 $pid3 $server; do kill -0 "$pid" 2>/dev/null || return 1; done
}
start() {
    setsid "$folder/polyport" run -c "$place/node$1/polyport.toml" --set daemon.plugin_dir="$folder" \
        --set daemon.run_dir="$place/node$1" --set daemon.state_dir="$place/node$1/state" \
        2>>"$place/node$1/log" &
    eval "pid$1=$!"
}
trap 'end; exit 0' INT TERM
trap end EXIT

# Sessions of their own: Ctrl-C reaches this script alone, which ends them in their order.
setsid nats-server --jetstream --addr 127.0.0.1 --port "$port" --store_dir "$place/nats" \
    --log "$place/nats.log" &
server=$!

for node in 1 2 3; do
    here=$place/node$node
    mkdir -p "$here/state"
    cat > "$here/polyport.toml" <<TOML
[daemon.bus]
backend = "nats"
[daemon.bus.nats]
servers = ["nats://127.0.0.1:$port"]
[services.chat]
plugin = "line-chat"
listen = ["tcp://127.0.0.1:$((port + node))"]
workers = 1
[services.chat.socket]
keepalive = true
keepalive_idle = "60s"
TOML
    : > "$here/log"
    start "$node"
done

# A node that cannot serve ends; the control socket of one that serves answers.
for node in 1 2 3; do
    tries=0
    until "$folder/polyport" health --socket "$place/node$node/control.sock" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ] || ! all_live; then
            echo "node $node does not serve:" >&2
            tail -n 5 "$place/nats.log" "$place/node$node/log" >&2
            exit 1
        fi
        sleep 0.1
    done
done
echo "three nodes share one chat; Ctrl-C stops them and the NATS server at port $port"
for node in 1 2 3; do
    echo "  node $node   nc 127.0.0.1 $((port + node))"
done
echo "what they log lies in $place"
while kill -0 "$server" 2>/dev/null; do
    for node in 1 2 3; do
        eval "pid=\$pid$node"
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "node $node has ended, and is started again in 5 s; see $place/node$node/log"
            sleep 5 &
            wait $! || true
            start "$node"
        fi
    done
    sleep 1 &
    wait $! || true
done
echo "the NATS server has ended; see $place/nats.log" >&2
exit 1
