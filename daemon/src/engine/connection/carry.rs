//! A connection between two workers: frozen here, written down, made again there.
//!
//! Invariant: one that is away does nothing and nothing is due for it; what it was when it left is what
//! it is when it stays after all.

use super::{Connection, NEVER, Pace, Spans, State};
use crate::engine::carried::{Course, Stage};
use crate::engine::limits::Until;
use crate::engine::output::Output;

impl<S> Connection<S> {
    pub(in crate::engine) fn is_away(&self) -> bool {
        self.away
    }

    pub(in crate::engine) fn leave(&mut self) {
        self.away = true;
    }

    /// It stays, or has arrived.
    pub(in crate::engine) fn stay(&mut self) {
        self.away = false;
    }

    pub(in crate::engine) fn is_over(&self) -> bool {
        self.state == State::Closed
    }

    /// `idle_ms` is what the plan says of it; `refused` whether a `writable` is owed.
    pub(in crate::engine) fn course(&self, idle_ms: u64, refused: bool, now_ms: u64) -> Course {
        let left = |at_ms: u64| (at_ms != NEVER).then(|| at_ms.saturating_sub(now_ms));
        let allowance = |of: fn(&Pace) -> usize| self.pace.as_ref().map(|pace| of(pace) as u64);
        Course {
            stage: match self.state {
                State::Open => Stage::Open,
                State::PeerFinished => Stage::PeerFinished,
                State::Finishing(why) => Stage::Finishing(why),
                State::Closed => unreachable!("nobody gives away what is over"),
            },
            paused: self.paused,
            full: self.full,
            feed_again: self.feed_again,
            peer_fin: self.peer_fin,
            fin_asked: self.fin_asked,
            fin_sent: self.fin_sent,
            refused,
            silent: self.silent,
            idle_for_ms: now_ms.saturating_sub(self.active_ms),
            idle_ms: (self.idle_ms != idle_ms).then_some(self.idle_ms),
            linger_left_ms: left(self.linger_until_ms),
            progress_left_ms: left(self.until.progress_ms),
            stall_left_ms: left(self.until.stall_ms),
            dropped: self.dropped as u64,
            input_allowance: allowance(|pace| pace.input.allowance()),
            output_allowance: allowance(|pace| pace.output.allowance()),
        }
    }

    /// One that comes from another worker, and is away until it has arrived.
    pub(in crate::engine) fn taken(
        course: &Course,
        age_ms: u64,
        idle_ms: u64,
        spans: &Spans,
        now_ms: u64,
    ) -> Connection<S> {
        let at = |left_ms: Option<u64>| left_ms.map_or(NEVER, |left| now_ms.saturating_add(left));
        let begun_ms = now_ms.saturating_sub(age_ms);
        let mut pace = Pace::of(spans, now_ms);
        if let Some(pace) = &mut pace {
            pace.input.lower(course.input_allowance, now_ms);
            pace.output.lower(course.output_allowance, now_ms);
        }
        Connection {
            state: match course.stage {
                Stage::Open => State::Open,
                Stage::PeerFinished => State::PeerFinished,
                Stage::Finishing(why) => State::Finishing(why),
            },
            output: Output::default(),
            paused: course.paused,
            full: course.full,
            feed_again: course.feed_again,
            peer_fin: course.peer_fin,
            fin_asked: course.fin_asked,
            fin_sent: course.fin_sent,
            away: true,
            dropped: usize::try_from(course.dropped).unwrap_or(usize::MAX),
            active_ms: now_ms.saturating_sub(course.idle_for_ms),
            linger_until_ms: at(course.linger_left_ms).min(match course.fin_sent {
                true => now_ms.saturating_add(super::LINGER_MS),
                false => NEVER,
            }),
            until: Until::taken(
                spans,
                begun_ms,
                at(course.progress_left_ms),
                at(course.stall_left_ms),
                now_ms,
            ),
            pace,
            ..Connection::new(course.idle_ms.unwrap_or(idle_ms), spans, now_ms)
        }
    }
}
