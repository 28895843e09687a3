//! When the service manager hears something, and which sockets it keeps.
//!
//! The words and their order are in `notify`; here is what they say about the services. Nothing is
//! decided by whether the manager heard it.
//!
//! Invariant: when a change is over, the manager keeps exactly the sockets that are bound.

use super::life::Life;
use super::notify::Keepsake;
use crate::control::ReloadOutcome;
use crate::exit;
use crate::lifecycle::{ServiceView, State};

impl Life {
    /// Gives the manager what is bound now, and takes back what is not any more.
    pub(super) fn keep_listeners(&mut self) {
        let editions = self.services.values().flat_map(|s| s.editions.values());
        let listeners = editions.flat_map(|edition| &edition.listeners);
        let keepsakes: Vec<Keepsake<'_>> = listeners.flat_map(|l| l.keepsakes()).collect();
        self.notifier.keep(&keepsakes);
    }

    pub(super) fn notify_serving(&mut self, views: &[ServiceView]) {
        self.keep_listeners();
        self.notifier.serving(&status(views, None));
    }

    pub(super) fn notify_reloaded(&mut self) {
        // A wish that was turned away at the door has begun nothing.
        if self.changes.under_way.is_none() {
            let text = status(&self.lifecycle.view(), self.changes.last.as_ref());
            self.notifier.reloaded(&text);
        }
    }

    pub(super) fn notify_passed(&mut self, now_ms: u64) {
        let (lifecycle, last) = (&self.lifecycle, self.changes.last.as_ref());
        self.notifier
            .passed(|| status(&lifecycle.view(), last), now_ms);
    }
}

/// For a person who looks: what serves, what does not, and whether the last change was refused.
fn status(views: &[ServiceView], last: Option<&ReloadOutcome>) -> String {
    let serves = |view: &&ServiceView| view.failure.is_none() && view.state == State::Serving;
    let serving = views.iter().filter(serves);
    let workers = serving
        .clone()
        .flat_map(|view| &view.workers)
        .filter(|worker| worker.state == State::Serving);
    let mut text = format!(
        "Serving {} of {} services with {} workers",
        serving.count(),
        views.len(),
        workers.count()
    );
    for view in views {
        let Some(failure) = &view.failure else {
            continue;
        };
        text.push_str("\nfailed: ");
        // A probe's verdict names the key, a worker's last words do not know it.
        if !failure.starts_with("services.") {
            text.push_str(&format!("{}: ", view.name));
        }
        text.push_str(failure);
    }
    if let Some(refused) = last.filter(|outcome| outcome.exit != exit::DONE) {
        text.push_str("\nlast reload refused: ");
        text.push_str(&refused.text);
    }
    text
}
