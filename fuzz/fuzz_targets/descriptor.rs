//! Any bytes as what a plugin's table says. The promise is in `daemon/tests/targets`, beside the tests that
//! keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call; the plugin is taken into a store once.
#![no_main]

#[path = "../../daemon/tests/targets/mod.rs"]
mod targets;

use std::path::Path;

use polyport::channel::StoredPlugin;
use polyport::plugin_host::take;

thread_local! {
    static DRAWN: StoredPlugin = {
        let own = nix::unistd::getuid().as_raw();
        take(Path::new(env!("DRAWN")), Path::new(env!("OUT_DIR")), &[own])
            .unwrap_or_else(|error| panic!("{error}"))
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    DRAWN.with(|drawn| targets::descriptor::descriptor(drawn, bytes));
});
