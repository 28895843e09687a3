//! Polyport: a gateway daemon whose protocols are plugins.
//!
//! This is the library behind the one binary. Start with `main.rs`, which chooses the role, then
//! follow `supervisor` (privileged, reads no peer byte) or `worker` (unprivileged, runs one plugin).
//! Between them stand cores that do no I/O at all: `lifecycle` and `engine`.
#![deny(unsafe_code)]
// They panic when the reader has gone; `terminal` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod channel;
pub mod config;
pub mod control;
pub mod engine;
pub mod exit;
pub mod hub;
pub mod lifecycle;
pub mod log;
pub mod operator;
pub mod plan;
pub mod plugin_host;
pub mod role;
pub mod scoreboard;
#[cfg(test)]
mod seeds;
pub mod supervisor;
pub mod sys;
pub mod terminal;
pub mod worker;
