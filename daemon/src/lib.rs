//! The daemon as a library: its rooms, so that the binary and the tests share them.
//!
//! It holds no code of its own. Which room may use which is kept by `tests/tidy`; where unsafe code
//! may stand is said again in the rooms that allow it.

#![deny(unsafe_code)]
pub mod channel;
pub mod config;
pub mod control;
pub mod engine;
pub mod lifecycle;
pub mod plan;
pub mod plugin_host;
pub mod scoreboard;
pub mod supervisor;
pub mod sys;
pub mod worker;
