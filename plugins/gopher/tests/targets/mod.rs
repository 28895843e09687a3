//! What must hold whatever strangers send and administrators write: one function for each language that
//! is read here, which panics where the promise is broken and says whether the input was taken.
//!
//! They are fed by the seeded mutations of the tests, by the kept corpus, and by the fuzzer in `fuzz`,
//! so nothing here may depend on anything but the bytes. What an answer means is tested elsewhere.
//!
//! Invariant: a target keeps nothing from one input to the next but files that it overwrites.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program feeds the targets that it needs"
)]

mod ground;
pub mod map;
pub mod plus;
pub mod requests;

pub type Target = fn(&[u8]) -> bool;

/// Named as their folders in `fuzz/corpus`.
pub const ALL: [(&str, Target); 4] = [
    ("gopher_http", requests::http),
    ("gopher_map", map::map),
    ("gopher_plus", plus::plus),
    ("gopher_selector", requests::selector),
];
