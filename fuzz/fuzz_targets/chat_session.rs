//! Any bytes as all that a peer of a chat says. The promise is in `plugins/line-chat/tests/targets`,
//! beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../plugins/line-chat/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::session(bytes);
});
