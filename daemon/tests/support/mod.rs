//! What the black-box tests share: the daemon under test, plugins built for it, scripted peers.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses the part that it needs"
)]

pub mod daemon;
pub mod datagrams;
pub mod dice;
pub mod directory;
pub mod epilogue;
pub mod fixtures;
pub mod limits;
pub mod looking;
pub mod meeting;
pub mod namespace;
pub mod peer;
pub mod plugins;
pub mod program;
pub mod script;
pub mod sockets;
pub mod versions;
