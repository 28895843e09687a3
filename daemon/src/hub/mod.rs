//! The bus: what the workers of a service share, kept by a process of its own.
//!
//! `core` decides everything and does no I/O: it takes frames of workers and gives frames back. Around
//! it `process` polls and sends, and `sqlite` keeps history. `client` is the other end, in a worker, just
//! as pure; `wire` is what the two say to each other.
//!
//! Invariant: a message has one number in its topic for ever, and every subscription hears of each
//! number at most once, in order. What a hub has said and not stored is known to those who heard it, and
//! they say it again to the next hub.

mod claims;
pub mod client;
pub mod core;
mod feeding;
mod hearing;
mod ids;
mod leases;
pub mod nats;
pub mod pens;
pub mod process;

pub mod sqlite;
pub mod store;
mod topic;
mod topics;
pub mod wire;
mod writing;

#[cfg(test)]
mod simulation;
