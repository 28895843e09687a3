//! Three servers that keep everything three times, and lose one after the other under traffic.
//! POLYPORT_SOAK=1 lets each of them be the one; otherwise it is the first alone.

use super::{Server, config_of, free_port};
use crate::support::daemon::Daemon;
use crate::support::meeting::Peer;
use crate::{answers, each_once_in_one_order, linked};

const SERVERS: usize = 3;
/// Messages of each peer in a round.
const SIZE: usize = 100;

fn start() -> Vec<Server> {
    let ports: Vec<u16> = (0..SERVERS).map(|_| free_port()).collect();
    let route = |port: &u16| format!("nats://127.0.0.1:{port}");
    let routes = ports.iter().map(route).collect::<Vec<_>>().join(",");
    let start = |(nth, port): (usize, &u16)| {
        let name = format!("nats-of-three-{nth}");
        let own = route(port);
        let cluster = ["--cluster_name", "three", "--cluster", &own];
        let named = ["--server_name", &name, "--routes", &routes];
        Server::start_with(&name, &[cluster, named].concat())
    };
    ports.iter().enumerate().map(start).collect()
}

#[test]
fn a_cluster_that_loses_a_server_loses_nothing_that_was_said_and_no_lease() {
    let mut servers = start();
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let config = config_of(&urls, "replicas = 3");
    let daemons = ["nats-three-a", "nats-three-b"].map(|name| Daemon::start(name, &config));
    let mut peers = [linked(&daemons[0]), linked(&daemons[1])];
    peers[0].say("claim nick.bob a s1");
    peers[0].until("won nick.bob a");
    let rounds = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => SERVERS,
        None => 1,
    };
    for (round, server) in servers.iter_mut().enumerate().take(rounds) {
        for nth in 0..SIZE {
            for (peer, from) in peers.iter_mut().zip(["a", "b"]) {
                peer.say(&format!(
                    "publish room {from}{round}.{nth} {from}{round}.{nth}"
                ));
            }
            if nth == SIZE / 2 {
                server.kill();
            }
        }
        let all = SIZE * (round + 1);
        for peer in &mut peers {
            while answers(peer) < all || peer.messages().len() < 2 * all {
                peer.next();
            }
        }
        // Who had it has it still, as the other node sees it.
        peers[1].say(&format!("claim nick.bob b other{round}"));
        let denied = |peer: &Peer| {
            let of_bob = |line: &&String| *line == "denied nick.bob a";
            peer.lines.iter().filter(of_bob).count()
        };
        while denied(&peers[1]) <= round {
            peers[1].next();
        }
        server.again();
    }
    assert!(!peers[0].lines.iter().any(|line| line.starts_with("lost")));
    let heard = each_once_in_one_order(&peers, rounds, SIZE);
    // The last server has the same, for somebody who knows nothing of the daemons.
    let outside = servers[SERVERS - 1].messages("meets");
    let outside: Vec<&String> = outside.iter().map(|(_, text)| text).collect();
    assert_eq!(outside, heard.iter().collect::<Vec<_>>());
    drop(peers);
    for daemon in daemons {
        daemon.finish(&[]);
    }
}
