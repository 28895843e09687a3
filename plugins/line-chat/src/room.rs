//! A room as one worker follows it: its last lines, and who of its sessions is in it.
//!
//! A line that has come goes to each member that has all before it; one whose output is full gets what
//! it lacks from the last lines once there is room. So whoever reads too slowly costs no memory of its
//! own. Invariant: a member that is not waiting has seen all lines up to its `seen`, once and in order,
//! but for those that are said to be skipped.

use std::collections::VecDeque;
use std::rc::Rc;

use polyport_plugin::prelude::*;

use crate::counts::Counts;
use crate::format::{Form, Notice, line};
use crate::member::{Id, Member};
use crate::message::Said;
use crate::{names, unix_ms};

/// Lines that are at hand for members who lag, however short the history is that is shown.
const LINES_MIN: usize = 64;

/// A line as the bus has it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) said: Said,
}

impl Entry {
    pub(crate) fn new(sequence: u64, time_ms: u64, said: Said) -> Entry {
        Entry {
            sequence,
            time_ms,
            said,
        }
    }

    pub(crate) fn shown(&self, room: &str, form: Form, with_room: bool) -> String {
        line(self.notice(room, false), form, with_room, self.time_ms)
    }

    /// As history, to whoever comes in or asks for it.
    pub(crate) fn shown_later(&self, room: &str, form: Form, now_ms: u64) -> String {
        let form = form.of_history(self.time_ms, now_ms);
        line(self.notice(room, true), form, false, self.time_ms)
    }

    fn notice<'a>(&'a self, room: &'a str, old: bool) -> Notice<'a> {
        Notice::Said {
            kind: self.said.kind,
            room,
            sequence: self.sequence,
            nick: self.said.nick(),
            text: self.said.text(),
            old,
        }
    }

    /// Whether this member is to see it.
    pub(crate) fn is_for(&self, member: &Member) -> bool {
        let is_heard = member.echo || *self.said.from() != *member.id.text();
        is_heard && !self.is_ignored_by(member)
    }

    #[inline]
    pub(crate) fn is_ignored_by(&self, member: &Member) -> bool {
        // Nearly nobody ignores anybody.
        !member.ignored.is_empty() && member.ignores(&names::fold(self.said.nick()))
    }
}

/// The room.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Rc<str>,
    pub(crate) subscription: SubscriptionId,
    /// What was said before has come.
    pub(crate) is_caught_up: bool,
    pub(crate) last: u64,
    pub(crate) lines: VecDeque<Entry>,
    pub(crate) members: Vec<u32>,
}

impl Room {
    pub(crate) fn new(name: Rc<str>, subscription: SubscriptionId) -> Room {
        Room {
            name,
            subscription,
            is_caught_up: false,
            last: 0,
            lines: VecDeque::new(),
            members: Vec::new(),
        }
    }

    /// How many of its last lines are kept.
    pub(crate) fn lines_max(history: usize) -> usize {
        history.max(LINES_MIN)
    }

    pub(crate) fn keep(&mut self, entry: Entry, history: usize) {
        if self.lines.len() >= Room::lines_max(history) {
            self.lines.pop_front();
        }
        self.last = entry.sequence;
        self.lines.push_back(entry);
    }

    /// Tells the last line to all who have those before it.
    pub(crate) fn tell_last(&self, cx: &mut Context, members: &mut [Option<Box<Member>>]) {
        if let Some(entry) = self.lines.back() {
            self.tell(cx, members, entry, true);
        }
    }

    /// The same for any line; one that is not `counted` has no place in the order yet.
    pub(crate) fn tell(
        &self,
        cx: &mut Context,
        members: &mut [Option<Box<Member>>],
        entry: &Entry,
        counted: bool,
    ) {
        // By the number of their form: nearly all want the same.
        let mut made: Vec<(usize, String)> = Vec::new();
        let from = Id::of(entry.said.from().as_bytes());
        for number in &self.members {
            let Some(member) = members.get_mut(*number as usize).and_then(Option::as_mut) else {
                continue;
            };
            let is_heard = member.echo || from != Some(member.id);
            let wanted = is_heard && !entry.is_ignored_by(member);
            let current = member.current;
            let Some(at) = member
                .stays
                .iter()
                .position(|it| Rc::ptr_eq(&it.room, &self.name))
            else {
                continue;
            };
            let stay = &mut member.stays[at];
            if stay.waits || member.lags || (counted && entry.sequence <= stay.seen) {
                continue;
            }
            let with_room = at != current;
            let sent = if wanted {
                let number = member.form.number(with_room);
                let at = made.iter().position(|(form, _)| *form == number);
                let at = at.unwrap_or_else(|| {
                    made.push((number, entry.shown(&self.name, member.form, with_room)));
                    made.len() - 1
                });
                cx.write(member.session, made[at].1.as_bytes())
            } else {
                Ok(())
            };
            match sent {
                Err(Error::Full) => member.lags = true,
                _ if counted => stay.seen = entry.sequence,
                _ => {}
            }
        }
    }

    /// Whether lines behind this one may be at hand no more.
    pub(crate) fn lacks(&self, seen: u64, history: usize) -> bool {
        let is_full = self.lines.len() >= Room::lines_max(history);
        is_full && self.lines.front().is_some_and(|it| it.sequence > seen + 1)
    }

    /// Gives a member what it has not seen; true if all of it went out.
    pub(crate) fn catch_up(
        &self,
        cx: &mut Context,
        counts: Counts,
        member: &mut Member,
        at: usize,
    ) -> bool {
        let seen = member.stays[at].seen;
        let with_room = at != member.current;
        let first = self
            .lines
            .front()
            .map_or(self.last + 1, |entry| entry.sequence);
        if first > seen + 1 && self.lines.len() >= LINES_MIN {
            let count = first - seen - 1;
            let text = format!("{count} lines of #{} skipped, /history {count}", self.name);
            let notice = Notice::Told {
                kind: "skipped",
                text: &text,
            };
            let line = line(notice, member.form, false, 0);
            if cx.write(member.session, line.as_bytes()) == Err(Error::Full) {
                return false;
            }
            cx.add(counts.lines_skipped, count);
            member.stays[at].seen = first - 1;
        }
        let begin = self.lines.partition_point(|entry| entry.sequence <= seen);
        for entry in self.lines.range(begin..) {
            if entry.is_for(member) {
                let line = entry.shown(&self.name, member.form, with_room);
                if cx.write(member.session, line.as_bytes()) == Err(Error::Full) {
                    return false;
                }
            }
            member.stays[at].seen = entry.sequence;
        }
        member.stays[at].seen = seen.max(self.last);
        true
    }

    /// The last lines with their times, as whoever comes in is shown them; the older ones are left out
    /// where there is no room.
    pub(crate) fn history(&self, form: Form, count: usize, bytes_max: usize) -> String {
        let now_ms = unix_ms();
        let mut lines = Vec::new();
        let mut bytes = 0;
        for entry in self.lines.iter().rev().take(count) {
            let line = entry.shown_later(&self.name, form, now_ms);
            bytes += line.len();
            if bytes > bytes_max {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        lines.concat()
    }
}
