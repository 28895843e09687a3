//! Orders that wait until a child has read some of those before: its channel is full, and the
//! supervisor does not wait for anybody.
//!
//! A worker reads its channel once a turn, so it is behind only while its plugin does not return or a
//! flood of bans comes. What to do with one that never reads is for the caller.
//!
//! Invariant: orders leave in the order in which they were given, none twice, and none is left out.

use std::collections::VecDeque;
use std::io;

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::channel::Order;

/// As many again as a channel holds, and then some: bans of a sensor come at 64 a second.
const ORDERS_UNSENT_MAX: usize = 1_024;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unsent(VecDeque<Order>);

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends it now, or keeps it for `flush`. `QuotaExceeded` if too many are kept already.
    pub(super) fn send(
        &mut self,
        order: &Order,
        mut send: impl FnMut(&Order) -> io::Result<()>,
    ) -> io::Result<()> {
        self.flush(&mut send);
        if self.0.is_empty() {
            match send(order) {
                Err(error) if is_full(&error) => {}
                sent => return sent,
            }
        }
        if self.0.len() >= ORDERS_UNSENT_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.0.push_back(order.clone());
        Ok(())
    }

    /// There may be room again. If the child is gone there is nobody left to tell.
    pub(super) fn flush(&mut self, mut send: impl FnMut(&Order) -> io::Result<()>) {
        while let Some(order) = self.0.front() {
            match send(order) {
                Ok(()) => drop(self.0.pop_front()),
                Err(error) if is_full(&error) => return,
                Err(_) => self.0.clear(),
            }
        }
    }
}

/// For now, or the machine has no memory for one more.
fn is_full(error: &io::Error) -> bool {
    let short = [libc::ENOBUFS, libc::ENOMEM];
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error().is_some_and(|it| short.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Channel, Received};

    fn order(nth: u64) -> Order {
        Order::Drain {
            grace_ms: nth,
            leaving: Vec::new(),
            hurried: false,
        }
    }

    fn read(worker: &Channel) -> Option<Order> {
        match worker.receive() {
            Received::Message(order) => Some(order),
            Received::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_full_channel_did_not_take_arrives_later_and_in_order() {
        let (supervisor, theirs) = Channel::pair().expect("a pair");
        let worker = Channel::adopt(theirs).expect("a channel");
        let mut unsent = Unsent::default();
        let mut given = 0;
        while unsent.0.len() < 100 {
            let told = unsent.send(&order(given), |order| supervisor.send(order));
            told.expect("sent or kept");
            given += 1;
        }
        let mut heard = Vec::new();
        while heard.len() < given as usize {
            match read(&worker) {
                Some(order) => heard.push(order),
                // What fitted has been read: there is room.
                None => unsent.flush(|order| supervisor.send(order)),
            }
            // One more in between stands behind all of them.
            if heard.len() == 10 && given < 100_000 {
                let told = unsent.send(&order(given), |order| supervisor.send(order));
                told.expect("sent or kept");
                given += 1;
                heard.push(read(&worker).expect("the channel was full"));
            }
        }
        assert!(unsent.is_empty());
        let expected: Vec<Order> = (0..given).map(order).collect();
        assert_eq!(heard, expected);
        assert_eq!(read(&worker), None);
    }

    #[test]
    fn whoever_never_reads_is_found_out_and_whoever_is_gone_is_not_waited_for() {
        let mut unsent = Unsent::default();
        let full = |_: &Order| Err(io::ErrorKind::WouldBlock.into());
        for nth in 0..ORDERS_UNSENT_MAX as u64 {
            unsent.send(&order(nth), full).expect("kept");
        }
        let error = unsent.send(&order(0), full).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        unsent.flush(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(unsent.is_empty());
        let short = |_: &Order| Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        unsent.send(&order(0), short).expect("kept");
        assert!(!unsent.is_empty());
        unsent.flush(|_| Ok(()));
        let gone = |_: &Order| Err(io::ErrorKind::BrokenPipe.into());
        let error = unsent.send(&order(0), gone).expect_err("nobody hears it");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(unsent.is_empty());
    }
}
