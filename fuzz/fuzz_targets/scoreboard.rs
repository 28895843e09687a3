//! Any bytes as what a worker leaves in the memory that it shares with the supervisor. The promise is in
//! `daemon/tests/targets`, beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../daemon/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::remembered::scoreboard(bytes);
});
