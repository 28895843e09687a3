//! What the operating system offers and nix does not wrap as a safe call.
//!
//! One of the two rooms of the daemon in which `unsafe` may stand (the other is `plugin_host`).
//! Everything exported from here is safe to call.
#![allow(unsafe_code, reason = "this is one of the two rooms for it")]

pub mod accept;
pub mod ahead;
pub mod clock;
pub mod crash;
pub mod datagram;
pub mod exec;
pub mod file;
pub mod heap;
pub mod jail;
pub mod orphan;
pub mod passing;
pub mod reap;
pub mod resident;
pub mod sandbox;
pub mod shared_memory;
pub mod socket_option;
pub mod spawn;
