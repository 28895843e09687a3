//! Any bytes as what other workers say to a chat over the bus. The promise is in
//! `plugins/line-chat/tests/targets`, beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../plugins/line-chat/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::bus(bytes);
});
