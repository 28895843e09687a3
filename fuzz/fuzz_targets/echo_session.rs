//! Any bytes as what a peer of echo says. The promise is in `plugins/echo/tests/targets`,
//! beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../plugins/echo/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::session(bytes);
});
