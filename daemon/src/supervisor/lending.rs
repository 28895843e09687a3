//! Lending: the shards of one worker are polled by another too, while nobody accepts there.
//!
//! Streams only: two readers of one datagram socket would tear a peer's datagrams apart. Shards that
//! several workers poll anyway need not be lent.
//!
//! Invariant: a worker is lent shards of its own generation only.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use super::children::Children;
use super::life::{Life, tell};
use crate::channel::{ListenerBrief, Order};
use crate::lifecycle::WorkerId;
use crate::plan::Transport;

impl Life {
    pub(super) fn lend(&self, from: u16, to: WorkerId, children: &Children) {
        let (Some(edition), Some((pid, _))) = (self.edition(to), children.of_worker(to)) else {
            return;
        };
        for (fd, brief) in edition.shards_of(from) {
            if brief.shared || brief.local.transport() != Transport::Stream {
                continue;
            }
            let listener = ListenerBrief {
                shared: true,
                ..brief
            };
            tracing::info!(
                "{} is lent to worker {} while nobody accepts there",
                listener.endpoint,
                to.slot + 1
            );
            let listener = Box::new(listener);
            let order = Order::Lend { from, listener };
            match children.tell_with(pid, &order, &[fd.as_fd()]) {
                Ok(()) => {}
                // It has died and is not reaped yet: its end is what gets said.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
                Err(error) => {
                    tracing::error!("the worker {pid} cannot be lent a listener: {error}");
                }
            }
        }
    }

    pub(super) fn reclaim(&self, from: u16, to: WorkerId, children: &mut Children) {
        tell(children, to, &Order::Reclaim { from });
    }
}
