//! A handover between two workers: the supervisor makes the stream that sessions go over, gives one
//! end to each, and has no part in it afterwards.
//!
//! It decides neither when that is nor between whom. Invariant: nothing that goes over the stream can
//! be read here, for both ends are closed when `begin` returns.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::children::Children;
use crate::channel::Order;
use crate::lifecycle::WorkerId;

/// `from` gives all it can to `to`, finishes the rest within the grace and ends, as for a drain. False
/// when one of them cannot be told: then `from` has heard nothing, and is to be drained instead; `to`
/// finds a stream that has ended, and goes on.
pub(super) fn begin(
    children: &Children,
    from: WorkerId,
    to: WorkerId,
    grace_ms: u64,
    leaving: Vec<String>,
) -> bool {
    let told = tell_both(children, from, to, Order::Give { grace_ms, leaving });
    if let Err(error) = &told {
        tracing::warn!("sessions drain instead of being carried: {error}");
    }
    told.is_ok()
}

fn tell_both(children: &Children, from: WorkerId, to: WorkerId, give: Order) -> io::Result<()> {
    let pid = |worker| children.of_worker(worker).map(|(pid, _)| pid);
    let (Some(giver), Some(taker)) = (pid(from), pid(to)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (gives, takes) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    children.tell_with(taker, &Order::Take {}, &[takes.as_fd()])?;
    children.tell_with(giver, &give, &[gives.as_fd()])
}
