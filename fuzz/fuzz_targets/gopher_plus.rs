//! Any bytes as a line of Gopher+ and an abstract. The promise is in `plugins/gopher/tests/targets`,
//! beside the tests that keep it on every run; nothing is decided here.
//!
//! Invariant: one input, one call.
#![no_main]

#[path = "../../plugins/gopher/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::plus::plus(bytes);
});
