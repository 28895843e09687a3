//! Any bytes as a script of what peers do to the engine with a loaded plugin in it, and so of what the
//! plugin answers. The promise is in `daemon/tests/targets`, beside the tests that keep it on every run.
//!
//! Invariant: one input, one call; the plugin is taken into a store once.
#![no_main]

#[path = "../../daemon/tests/targets/mod.rs"]
mod targets;

use std::path::Path;

use polyport::channel::StoredPlugin;
use polyport::plugin_host::take;

thread_local! {
    static PLAYS: StoredPlugin = {
        let own = nix::unistd::getuid().as_raw();
        take(Path::new(env!("PLAYS")), Path::new(env!("OUT_DIR")), &[own])
            .unwrap_or_else(|error| panic!("{error}"))
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    PLAYS.with(|plays| targets::plugin::plugin(plays, bytes));
});
