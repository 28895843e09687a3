//! Markers of keys that were freed: how long they stay in the bucket, and who takes them away.
//!
//! Who hears a little late is shown only the last message of a key, so the marker has to be there for
//! longer than anybody may be late on one connection. After that it is taken away, so that a bucket is as
//! large as what is held and what was freed a moment ago: by the node that has written it, and those
//! that were there when a connection was made by the node that has made it.
//!
//! Invariant: a marker is taken away by its own revision, so never what somebody has written over it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::session::{Service, Trouble, in_words};

/// How long a marker stays. Who stood still for half of it makes another connection.
pub(super) const STAY_MS: u64 = 30_000;
/// Between two looks at what is to be taken away.
const LOOK_MS: u64 = 1_000;
/// Markers that are taken away at once.
const AT_ONCE_MAX: usize = 64;

/// When each is to go, in order.
#[derive(Default)]
pub(super) struct Markers(Mutex<VecDeque<(Instant, u64)>>);

impl Markers {
    pub(super) fn add(&self, revision: u64, now: Instant) {
        let due = now + Duration::from_millis(STAY_MS);
        self.waiting().push_back((due, revision));
    }

    fn due(&self, now: Instant) -> Vec<u64> {
        let mut waiting = self.waiting();
        let count = waiting.iter().take(AT_ONCE_MAX);
        let count = count.take_while(|(due, _)| *due <= now).count();
        waiting
            .drain(..count)
            .map(|(_, revision)| revision)
            .collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes away what has stayed long enough, as long as the connection lives.
pub(super) async fn take_away(service: Arc<Service>) -> Result<(), Trouble> {
    let mut pace = tokio::time::interval(Duration::from_millis(LOOK_MS));
    let bucket = &service.leases;
    loop {
        pace.tick().await;
        loop {
            let due = service.markers.due(Instant::now());
            // One by one, and not by a purge: after a purge of one subject a server of version 2.9
            // tells consumers nothing more.
            let gone = due.iter().map(|it| bucket.stream.delete_message(*it));
            for gone in futures_util::future::join_all(gone).await {
                if let Err(error) = gone {
                    // Somebody has claimed the key, or has taken it away before.
                    tracing::trace!("a marker of {}: {}", bucket.name, in_words(&error));
                }
            }
            if due.len() < AT_ONCE_MAX {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_goes_when_it_has_stayed_and_so_many_at_once() {
        let (markers, begin) = (Markers::default(), Instant::now());
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let count = AT_ONCE_MAX as u64 + 2;
        for revision in 1..=count {
            markers.add(revision, at(revision));
        }
        assert!(markers.due(at(STAY_MS)).is_empty());
        assert_eq!(markers.due(at(STAY_MS + 2)), [1, 2]);
        let rest: Vec<u64> = (3..=count).collect();
        assert_eq!(markers.due(at(2 * STAY_MS)), rest[..AT_ONCE_MAX]);
        assert!(markers.due(at(2 * STAY_MS)).is_empty());
    }
}
