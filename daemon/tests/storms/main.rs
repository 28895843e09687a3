//! Storms: changes, deaths and signals in quick succession, under load, against the real daemon.
//!
//! They count and never time: how many were refused, reset or answered wrongly, how many generations
//! lived at once, how much memory is held. POLYPORT_SOAK=1 makes each as long as it is promised for.
//!
//! Invariant: whoever was asked for a load was served, or the failure has a cause that is allowed
//! and counted.

#[path = "../support/mod.rs"]
mod support;

mod beats;
mod carries;
mod changes;
mod chats;
mod datagrams;
mod deaths;
mod idle;
mod journey;
mod load;
mod probation;
mod scarce;
mod scene;
mod signals;
