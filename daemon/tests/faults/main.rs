//! Faults: what plugins, workers, operators and the system do wrong, played against the real daemon.
//!
//! Nearly every test has two services: one that misbehaves, and a neighbour that must not notice.
//! Nothing here looks inside the daemon; what it knows comes from its sockets, its log, its exit
//! codes and procfs. Every daemon that survives is ended in order and must leave nothing behind.

#[path = "../support/mod.rs"]
mod support;

mod blame;
mod channel;
mod clocks;
mod control;
mod crimes;
mod failing;
mod logs;
mod many;
mod memory;
mod misbehaving;
mod places;
mod probes;
mod procfs;
mod refused;
mod rows;
mod scarce;
mod scene;
mod start;
mod totals;
