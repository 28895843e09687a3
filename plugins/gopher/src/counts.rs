//! What is counted of requests and answers, for `polyport metrics`.
//!
//! Never by selector: what a peer chooses would be a name. Bytes and connections the daemon counts
//! itself. Invariant: each request is counted once as asked, or once as refused or late.

use polyport_plugin::metrics::Counter;
use polyport_plugin::{Context, Result};

use crate::reply::{Manner, Request};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    asked_gopher: Counter,
    asked_plus: Counter,
    asked_http: Counter,
    pub(crate) answered: Counter,
    pub(crate) refused: Counter,
    pub(crate) late: Counter,
    pub(crate) busy: Counter,
    /// Answers that were not at hand.
    pub(crate) read: Counter,
}

impl Counts {
    pub(crate) fn define(cx: &mut Context) -> Result<Counts> {
        Ok(Counts {
            asked_gopher: cx.counter("asked_gopher", "Requests as RFC 1436 has them.")?,
            asked_plus: cx.counter("asked_plus", "Requests of Gopher+.")?,
            asked_http: cx.counter("asked_http", "Requests of web browsers.")?,
            answered: cx.counter("answered", "Answers, errors among them.")?,
            refused: cx.counter("refused", "What was said that is no request.")?,
            late: cx.counter(
                "late",
                "Requests that were not complete within request_time.",
            )?,
            busy: cx.counter("busy", "Requests for which no thread was left.")?,
            read: cx.counter("read", "Answers that were made on a thread, from the disk.")?,
        })
    }

    pub(crate) fn asked(&self, cx: &mut Context, request: &Request) {
        let counter = match request.manner {
            Manner::Gopher => self.asked_gopher,
            Manner::Plus(_) => self.asked_plus,
            Manner::Http { .. } => self.asked_http,
        };
        cx.add(counter, 1);
    }
}
