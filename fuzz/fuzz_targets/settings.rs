//! Any bytes as the settings of a service whose plugin has an option of each kind. The promise is in
//! `daemon/tests/targets`, beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call; the plugin is loaded once.
#![no_main]

#[path = "../../daemon/tests/targets/mod.rs"]
mod targets;

use std::path::Path;

use polyport::plugin_host::{Admitted, load, take};

thread_local! {
    static ASKS: Admitted = {
        let own = nix::unistd::getuid().as_raw();
        let code = take(Path::new(env!("ASKS")), Path::new(env!("OUT_DIR")), &[own]);
        code.and_then(|code| load(&code, None)).unwrap_or_else(|error| panic!("{error}"))
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ASKS.with(|plugin| targets::written::settings(plugin, bytes));
});
