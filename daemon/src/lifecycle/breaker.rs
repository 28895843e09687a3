//! Whether a service is given to its plugin at all: not while that plugin keeps bringing workers down.
//!
//! Closed, the plugin serves. Three blamed faults within a minute open it, if no single source is
//! behind them; then nothing of the plugin runs for a minute, and each time it opens again without
//! having been closed, for twice as long. After that one worker tries (half open): five minutes without
//! a fault close it. Which workers those are, and what stands in meanwhile, is the pool's business.
//!
//! To use it: [`Breaker::fault`] for each blamed fault, [`Breaker::tick`] when
//! [`Breaker::next_deadline_ms`] has come; both say whether the course changed.
//!
//! Invariant: faults of one source, however many, never open it; nor do those of a source that was
//! already kept out when they happened.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// So many faults in so long open it.
const FAULTS: usize = 3;
const WINDOW_MS: u64 = 60_000;
/// How long it is open at first, and at most.
const OPEN_FIRST_MS: u64 = 60_000;
const OPEN_LAST_MS: u64 = 1_800_000;
/// How long the one worker has to do without a fault.
const PROVED_MS: u64 = 300_000;
/// Faults that are remembered; of more the oldest are let go.
const FAULTS_MAX: usize = 64;

/// What a fault was blamed on, besides the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A peer, by the word for its source.
    Source(u64),
    /// A peer that was being kept out already.
    Penalised,
    /// No peer: a timer, a wake-up, the plugin's start. Each is taken for a different one.
    Plugin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// All workers run the plugin.
    Closed,
    /// None does.
    Open,
    /// One does.
    HalfOpen,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Breaker {
    course: Course,
    /// When an open one is tried, or a half open one has proved itself.
    until_ms: u64,
    /// How often it has opened since it was last closed.
    openings: u32,
    faults: VecDeque<(u64, Cause)>,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            course: Course::Closed,
            until_ms: 0,
            openings: 0,
            faults: VecDeque::new(),
        }
    }
}

impl Breaker {
    pub fn course(&self) -> Course {
        self.course
    }

    /// When `tick` has something to do.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        (self.course != Course::Closed).then_some(self.until_ms)
    }

    /// A fault that the plugin is blamed for. True if the course changed.
    pub fn fault(&mut self, cause: Cause, now_ms: u64) -> bool {
        // What has not been noticed yet has happened before.
        let ticked = self.tick(now_ms);
        match (self.course, cause) {
            // Its last worker may die of what it had begun.
            (Course::Open, _) | (_, Cause::Penalised) => return ticked,
            (Course::Closed | Course::HalfOpen, Cause::Source(_) | Cause::Plugin) => {}
        }
        if self.faults.len() == FAULTS_MAX {
            self.faults.pop_front();
        }
        self.faults.push_back((now_ms, cause));
        let wanted = match self.course {
            Course::HalfOpen => 1,
            Course::Closed | Course::Open => FAULTS,
        };
        let counted = self.counted(now_ms);
        if counted.len() < wanted || is_one_source(&counted) {
            return ticked;
        }
        let open_ms = OPEN_FIRST_MS << self.openings.min(10);
        self.until_ms = now_ms.saturating_add(open_ms.min(OPEN_LAST_MS));
        self.openings = self.openings.saturating_add(1);
        self.turn(Course::Open)
    }

    /// Time has passed. True if the course changed.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        match self.course {
            Course::Open if now_ms >= self.until_ms => {
                self.until_ms = now_ms.saturating_add(PROVED_MS);
                self.turn(Course::HalfOpen)
            }
            Course::HalfOpen if now_ms >= self.until_ms => {
                self.openings = 0;
                self.turn(Course::Closed)
            }
            Course::Closed | Course::Open | Course::HalfOpen => false,
        }
    }

    fn turn(&mut self, course: Course) -> bool {
        self.course = course;
        self.faults.clear();
        true
    }

    /// Faults of the window; while half open, of the whole trial.
    fn counted(&mut self, now_ms: u64) -> Vec<Cause> {
        if self.course == Course::Closed {
            self.faults
                .retain(|(at_ms, _)| now_ms < at_ms.saturating_add(WINDOW_MS));
        }
        self.faults.iter().map(|(_, cause)| *cause).collect()
    }
}

fn is_one_source(causes: &[Cause]) -> bool {
    let sources = |cause: &Cause| matches!(cause, Cause::Source(_)) && *cause == causes[0];
    causes.iter().all(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Cause = Cause::Source(1);
    const B: Cause = Cause::Source(2);
    const P: Cause = Cause::Plugin;
    const KEPT_OUT: Cause = Cause::Penalised;

    /// Rows of stories: when what happens (`None` is only time passing), and the course after it.
    #[test]
    fn the_course_follows_from_faults_and_time() {
        type Row = (u64, Option<Cause>, Course);
        use Course::{Closed, HalfOpen, Open};
        let stories: [(&str, &[Row]); 8] = [
            (
                "three of two sources",
                &[
                    (0, Some(A), Closed),
                    (1, Some(B), Closed),
                    (2, Some(A), Open),
                ],
            ),
            (
                "one source alone, then another",
                &[
                    (0, Some(A), Closed),
                    (1, Some(A), Closed),
                    (2, Some(A), Closed),
                    (3, Some(A), Closed),
                    (4, Some(B), Open),
                ],
            ),
            (
                "of no source",
                &[
                    (0, Some(P), Closed),
                    (1, Some(P), Closed),
                    (2, Some(P), Open),
                ],
            ),
            (
                "whoever is kept out already does not count",
                &[
                    (0, Some(A), Closed),
                    (1, Some(KEPT_OUT), Closed),
                    (2, Some(KEPT_OUT), Closed),
                    (3, Some(B), Closed),
                    (4, Some(KEPT_OUT), Closed),
                    (5, Some(P), Open),
                ],
            ),
            (
                "a fault that is a minute old is over",
                &[
                    (0, Some(A), Closed),
                    (59_999, Some(B), Closed),
                    (60_000, Some(A), Closed),
                    (60_001, Some(B), Open),
                ],
            ),
            (
                "open, tried, proved",
                &[
                    (0, Some(P), Closed),
                    (0, Some(P), Closed),
                    (0, Some(P), Open),
                    (10, Some(P), Open),
                    (59_999, None, Open),
                    (60_000, None, HalfOpen),
                    (359_999, None, HalfOpen),
                    (360_000, None, Closed),
                    (360_001, Some(P), Closed),
                ],
            ),
            (
                "a fault of the one that tries, for twice as long",
                &[
                    (0, Some(P), Closed),
                    (0, Some(P), Closed),
                    (0, Some(P), Open),
                    (60_000, Some(P), Open),
                    (179_999, None, Open),
                    (180_000, None, HalfOpen),
                    (180_001, Some(KEPT_OUT), HalfOpen),
                    (180_002, Some(P), Open),
                    (420_001, None, Open),
                    (420_002, None, HalfOpen),
                ],
            ),
            (
                "one source cannot hold it open",
                &[
                    (0, Some(P), Closed),
                    (0, Some(P), Closed),
                    (0, Some(P), Open),
                    (60_000, Some(A), HalfOpen),
                    (150_000, Some(A), HalfOpen),
                    (350_000, Some(A), HalfOpen),
                    (360_000, None, Closed),
                ],
            ),
        ];
        for (story, rows) in stories {
            let mut breaker = Breaker::default();
            for (now_ms, cause, expected) in rows {
                let before = breaker.course();
                let changed = match cause {
                    Some(cause) => breaker.fault(*cause, *now_ms),
                    None => breaker.tick(*now_ms),
                };
                assert_eq!(breaker.course(), *expected, "{story} at {now_ms}");
                let through = matches!((before, *expected, cause), (Open, Open, Some(_)));
                assert!(
                    changed == (before != *expected) || (changed && through),
                    "{story} at {now_ms}: {changed}"
                );
                assert_eq!(breaker.next_deadline_ms().is_none(), *expected == Closed);
            }
        }
    }

    #[test]
    fn it_is_open_for_half_an_hour_at_most() {
        let (mut breaker, mut now_ms, mut waits) = (Breaker::default(), 0, Vec::new());
        for _ in 0..FAULTS {
            breaker.fault(P, now_ms);
        }
        for _ in 0..8 {
            let until_ms = breaker.next_deadline_ms().expect("open");
            waits.push((until_ms - now_ms) / 60_000);
            now_ms = until_ms;
            breaker.fault(P, now_ms);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    /// Worlds of random faults: what the head of this file promises, whatever happens.
    #[test]
    fn no_world_of_faults_breaks_the_promises() {
        for seed in 0..2_000_u64 {
            let mut state = seed;
            let mut draw = |below: u64| {
                // SplitMix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = state;
                word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (word ^ (word >> 31)) % below
            };
            let sources = draw(3) + 1;
            let with_plugin = draw(2) == 1;
            let (mut breaker, mut now_ms) = (Breaker::default(), 0);
            let mut real = Vec::new();
            for _ in 0..200 {
                now_ms += draw(40_000);
                let before = breaker.course();
                let cause = match draw(8) {
                    0 if with_plugin => Cause::Plugin,
                    1 => Cause::Penalised,
                    2 | 3 => {
                        breaker.tick(now_ms);
                        continue;
                    }
                    _ => Cause::Source(draw(sources)),
                };
                breaker.fault(cause, now_ms);
                if cause != Cause::Penalised {
                    real.push((now_ms, cause));
                }
                let opened = before == Course::Closed && breaker.course() == Course::Open;
                let recent = real.iter().filter(|(at, _)| now_ms < at + WINDOW_MS);
                let recent: Vec<Cause> = recent.map(|(_, cause)| *cause).collect();
                if opened {
                    assert!(
                        recent.len() >= FAULTS && !is_one_source(&recent),
                        "seed {seed}"
                    );
                    assert_ne!(cause, Cause::Penalised, "seed {seed}");
                }
                if sources == 1 && !with_plugin {
                    assert_eq!(breaker.course(), Course::Closed, "seed {seed}");
                }
                if let Some(due_ms) = breaker.next_deadline_ms() {
                    let longest = OPEN_LAST_MS.max(PROVED_MS);
                    assert!(due_ms > now_ms && due_ms <= now_ms + longest, "seed {seed}");
                }
                assert!(breaker.faults.len() <= FAULTS_MAX);
            }
        }
    }
}
