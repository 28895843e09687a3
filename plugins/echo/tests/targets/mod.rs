//! What must hold whatever bytes come, for whoever speaks with a mode of echo and for what one worker
//! hands to the next: a function each, which panics where the promise is broken and says whether the
//! input came to anything.
//!
//! They are fed by the kept corpus and by the fuzzer in `fuzz`. Invariant: a target keeps nothing from
//! one input to the next.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program feeds the targets that it needs"
)]

use polyport_echo::polyport_plugin_v1;
use polyport_plugin::testing::{FakeHost, Setup, Split};

pub type Target = fn(&[u8]) -> bool;

/// Named as their folders in `fuzz/corpus`.
pub const ALL: [(&str, Target); 2] = [("echo_carried", carried), ("echo_session", session)];

/// Those whose answer is what was said.
const MODES: [&str; 3] = ["stream", "line", "who"];

/// The first byte chooses the mode, the second where the rest is cut.
pub fn session(bytes: &[u8]) -> bool {
    let [mode, cut, said @ ..] = bytes else {
        return false;
    };
    let mode = MODES[usize::from(*mode) % MODES.len()];
    let split = match cut {
        0 => Split::EveryByte,
        n => Split::At(usize::from(*n)),
    };
    let whole = answer(mode, Split::Whole, said);
    assert_eq!(answer(mode, split, said), whole, "{mode}, cut: {split:?}");
    if mode == "stream" {
        assert_eq!(whole, said);
    }
    said.len() > 1 && !whole.is_empty()
}

fn answer(mode: &str, split: Split, said: &[u8]) -> Vec<u8> {
    let mut host = start(mode, split);
    let peer = host.connect();
    host.send(peer, said);
    if host.end(peer).is_none() {
        host.peer_finishes(peer);
    }
    host.received(peer).to_vec()
}

/// The first byte chooses the mode; the rest is a session of another worker, or claims to be one.
pub fn carried(bytes: &[u8]) -> bool {
    let Some((mode, carried)) = bytes.split_first() else {
        return false;
    };
    let mode = MODES[usize::from(*mode) % MODES.len()];
    let mut host = start(mode, Split::Whole);
    let peer = host.connect();
    let taken = host.carry_changed(|ours| *ours = carried.to_vec());
    if let Err(why) = &taken {
        assert!(!why.is_empty());
    }
    if host.end(peer).is_none() {
        host.send(peer, b"more\n");
    }
    if host.end(peer).is_none() {
        host.peer_finishes(peer);
    }
    taken.is_ok()
}

fn start(mode: &str, split: Split) -> FakeHost {
    let setup = Setup::table(polyport_plugin_v1()).set("mode", mode);
    setup.split(split).start().expect("it starts")
}
