//! What was said while a member was on its way between two workers, when that is more than is at hand:
//! it is read from history, and told before anything newer.
//!
//! Invariant: as long as a gap is not filled its stay waits, so no line behind the gap is told.

use std::rc::Rc;

use polyport_plugin::bus::{Message, Start};
use polyport_plugin::prelude::*;

use crate::message::Said;
use crate::room::Entry;
use crate::{Chat, is_away, rooms};

/// Lines of a room that are read from its history for one session.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) session: SessionId,
    pub(crate) seat: u32,
    pub(crate) room: Rc<str>,
    /// Nobody has asked for them: they fill a gap.
    pub(crate) fills: bool,
}

impl Chat {
    /// Asks for what lies between the last line that the member has had and those at hand.
    pub(crate) fn fill_gap(&mut self, cx: &mut Context, seat: u32, name: &Rc<str>) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let session = member.session;
        let Some(at) = member.stay(name) else {
            return;
        };
        let seen = member.stays[at].seen;
        let is_it = |look: &Look| look.fills && look.session == session && look.room == *name;
        if self.looks.values().any(is_it) {
            return;
        }
        match cx.history(&rooms::topic(name), Start::From(seen + 1)) {
            Ok(subscription) => {
                let (room, fills) = (Rc::clone(name), true);
                let look = Look {
                    session,
                    seat,
                    room,
                    fills,
                };
                self.looks.insert(subscription, look);
            }
            Err(_) => self.leave_gap(cx, seat, name),
        }
    }

    /// One line of the gap.
    pub(crate) fn filled(
        &mut self,
        cx: &mut Context,
        subscription: SubscriptionId,
        look: &Look,
        message: Message<'_>,
    ) {
        let Some(seat) = self.seat_of(look.seat, look.session) else {
            return;
        };
        let Some(member) = self.member(seat) else {
            return;
        };
        let Some(at) = member.stay(&look.room) else {
            return;
        };
        if message.sequence <= member.stays[at].seen {
            return;
        }
        if let Some(said) = Said::decode(message.bytes) {
            let entry = Entry::new(message.sequence, message.time_ms, said);
            let line = entry.shown(&look.room, member.form, at != member.current);
            if entry.is_for(member) && cx.write(look.session, line.as_bytes()) == Err(Error::Full) {
                let _ = cx.unsubscribe(subscription);
                self.looks.remove(&subscription);
                if !is_away(cx, look.session) {
                    // It reads too slowly for that.
                    self.leave_gap(cx, seat, &look.room);
                }
                return;
            }
        }
        member.stays[at].seen = message.sequence;
    }

    /// All there was is told, up to this number.
    pub(crate) fn gap_is_filled(&mut self, cx: &mut Context, look: &Look, sequence: u64) {
        self.pass(look, sequence);
        if let Some(seat) = self.seat_of(look.seat, look.session) {
            self.enter(cx, seat, &look.room);
        }
    }

    /// Nobody has these any more.
    pub(crate) fn not_filled(&mut self, cx: &mut Context, look: &Look, from: u64, to: u64) {
        self.pass(look, to);
        if let Some(seat) = self.seat_of(look.seat, look.session) {
            let count = to.saturating_sub(from) + 1;
            let text = format!("{count} lines of #{} were lost on the way", look.room);
            self.tell(cx, seat, "skipped", &text);
        }
    }

    fn pass(&mut self, look: &Look, sequence: u64) {
        let seat = self.seat_of(look.seat, look.session);
        if let Some(member) = seat.and_then(|seat| self.member(seat))
            && let Some(at) = member.stay(&look.room)
        {
            let stay = &mut member.stays[at];
            stay.seen = stay.seen.max(sequence);
        }
    }

    /// It goes on with what is at hand, and is told how much is not.
    fn leave_gap(&mut self, cx: &mut Context, seat: u32, name: &Rc<str>) {
        let member = self.members.get_mut(seat as usize).and_then(Option::as_mut);
        if let Some(member) = member
            && let Some(at) = member.stay(name)
            && let Some(room) = self.rooms.get(name)
        {
            member.stays[at].waits = false;
            member.lags |= !room.catch_up(cx, self.counts, member, at);
        }
    }
}
