//! Any bytes as a run of messages in the hub's history. The promise is in `daemon/tests/targets`,
//! beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../daemon/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::kept::hub_run(bytes);
});
