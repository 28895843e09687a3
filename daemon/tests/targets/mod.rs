//! What must hold whatever bytes come: one function for each parser and for the engine, which panics
//! where the promise is broken and says whether the input was accepted.
//!
//! They are fed by the seeded mutations of the tests, by the kept corpus, and by the fuzzer in `fuzz`,
//! so nothing here may depend on anything but the bytes. What an answer means is tested where the
//! parsers are.
//!
//! Invariant: a target keeps nothing from one input to the next.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program feeds the targets that it needs"
)]

pub mod descriptor;
pub mod engine;
pub mod kept;
pub mod moved;
pub mod plugin;
pub mod remembered;
pub mod spoken;
pub mod world;
pub mod written;

pub type Target = fn(&[u8]) -> bool;

/// Named as their folders in `fuzz/corpus`. `written::settings`, `plugin::plugin` and
/// `descriptor::descriptor` take a plugin as well.
pub const ALL: [(&str, Target); 14] = [
    ("access_times", written::access_times),
    ("carried", moved::carried),
    ("channel_frame", spoken::channel_frame),
    ("config", written::config),
    ("control_request", spoken::control_request),
    ("endpoint", written::endpoint),
    ("engine", engine::engine),
    ("handover", moved::handover),
    ("hub_frame", moved::hub_frame),
    ("hub_run", kept::hub_run),
    ("network", written::network),
    ("proxy_header", spoken::proxy_header),
    ("scoreboard", remembered::scoreboard),
    ("units", written::units),
];
