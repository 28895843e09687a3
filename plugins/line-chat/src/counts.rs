//! What the chat counts of itself, for `polyport metrics`.
//!
//! Never by room, nick or address: what a peer chooses would be a name, and names are for good. What the
//! daemon counts anyway (connections, bytes, faults) is not counted again. Invariant: each happening is
//! counted in the one worker where it happened, so the sum of all workers is the truth.

use polyport_plugin::metrics::{Counter, Gauge, Histogram};
use polyport_plugin::{Context, Result};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) logins: Counter,
    pub(crate) nicks_refused: Counter,
    pub(crate) joins: Counter,
    pub(crate) joins_refused: Counter,
    pub(crate) messages: Counter,
    pub(crate) messages_refused: Counter,
    pub(crate) slowed: Counter,
    pub(crate) lines_skipped: Counter,
    pub(crate) members: Gauge,
    pub(crate) rooms: Gauge,
    pub(crate) links_lost: Gauge,
    pub(crate) bus_ms: Histogram,
}

impl Counts {
    pub(crate) fn define(cx: &mut Context) -> Result<Counts> {
        Ok(Counts {
            logins: cx.counter("logins", "Sessions that were given their first nick.")?,
            nicks_refused: cx.counter("nicks_refused", "Nicks that somebody else had.")?,
            joins: cx.counter("joins", "Rooms that somebody came into.")?,
            joins_refused: cx.counter("joins_refused", "Rooms that could not be joined.")?,
            messages: cx.counter("messages", "Lines said in rooms that the bus has taken.")?,
            messages_refused: cx.counter(
                "messages_refused",
                "Lines not said: too long, muted, or too many waited.",
            )?,
            slowed: cx.counter(
                "slowed",
                "How often a speaker had to wait for being too fast.",
            )?,
            lines_skipped: cx
                .counter("lines_skipped", "Lines that slow readers were not shown.")?,
            members: cx.gauge("members", "Sessions that have a nick.")?,
            rooms: cx.gauge(
                "rooms",
                "Rooms that have members, in each worker that has some.",
            )?,
            links_lost: cx.gauge("links_lost", "Workers that the bus is away from.")?,
            bus_ms: cx.histogram(
                "bus_ms",
                "Milliseconds until the bus had taken what was said.",
                &[1, 5, 10, 50, 100, 500, 1_000, 5_000],
            )?,
        })
    }
}
