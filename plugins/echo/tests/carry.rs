//! Each mode, with all its sessions moved to another instance after anything that can happen: peers
//! get what they would have got, and end as they would have ended.

use polyport_echo::polyport_plugin_v1;
use polyport_plugin::End;
use polyport_plugin::testing::{Setup, Split};

const MODES: [&str; 9] = [
    "stream", "line", "once", "who", "discard", "chargen", "daytime", "time", "qotd",
];
/// Chargen has no end.
const HEARD_MAX: usize = 4000;

#[test]
fn a_conversation_is_the_same_wherever_it_is_carried() {
    for mode in MODES {
        for (split, appetite) in [(Split::Whole, 500), (Split::EveryByte, 10)] {
            let plain = conversation(mode, split, appetite, None);
            for nth in 1..40 {
                let carried = conversation(mode, split, appetite, Some(nth));
                assert_eq!(carried, plain, "{mode} {split:?}, carried after {nth}");
            }
        }
    }
}

/// How much was heard, what of it can be compared (not the time of day), and the end.
fn conversation(
    mode: &str,
    split: Split,
    appetite: usize,
    carried_at: Option<usize>,
) -> (usize, Vec<u8>, Option<End>) {
    let mut setup = Setup::table(polyport_plugin_v1())
        .set("mode", mode)
        .split(split)
        .output_bytes_max(2048)
        .appetite(appetite);
    if let Some(nth) = carried_at {
        setup = setup.carried_at(nth);
    }
    let mut host = setup.start().expect("it starts");
    let peer = host.connect();
    for bytes in [&b"one\r\nt"[..], b"wo\nthree"] {
        if host.end(peer).is_none() {
            host.send(peer, bytes);
        }
    }
    host.peer_reads(peer, HEARD_MAX);
    if host.end(peer).is_none() {
        host.peer_finishes(peer);
    }
    let heard = host.received(peer).to_vec();
    let telling = match mode {
        "daytime" | "time" => Vec::new(),
        _ => heard.clone(),
    };
    (heard.len(), telling, host.end(peer))
}
