//! How a session is told something. What does not fit is counted, and said once there is room.

use std::rc::Rc;

use polyport_plugin::prelude::*;

use crate::format::{Notice, line};
use crate::member::{Member, Stage};
use crate::{Chat, unix_ms};

impl Chat {
    /// One line of a kind, from the server.
    pub(crate) fn tell(&mut self, cx: &mut Context, seat: u32, kind: &str, text: &str) {
        self.show(cx, seat, Notice::Told { kind, text });
    }

    pub(crate) fn show(&mut self, cx: &mut Context, seat: u32, notice: Notice<'_>) {
        if let Some(member) = self.member(seat) {
            show(cx, member, notice);
        }
    }

    /// To everybody here that has a nick.
    pub(crate) fn tell_all(&mut self, cx: &mut Context, kind: &str, text: &str) {
        for member in self.members.iter_mut().flatten() {
            if member.is_named() {
                show(cx, member, Notice::Told { kind, text });
            }
        }
    }

    /// There is room again.
    pub(crate) fn catch_up(&mut self, cx: &mut Context, seat: u32) {
        let Some(member) = self.members.get_mut(seat as usize).and_then(Option::as_mut) else {
            return;
        };
        member.exported = false;
        let skipped = std::mem::take(&mut member.skipped);
        if skipped > 0 {
            let text = format!("{skipped} notices skipped");
            show(
                cx,
                member,
                Notice::Told {
                    kind: "skipped",
                    text: &text,
                },
            );
        }
        if member.stage == Stage::Left {
            // Nobody could be told so while it was on its way to another worker.
            let _ = cx.close(member.session, "has left");
            return;
        }
        member.lags = false;
        let id = member.id;
        self.try_letters_of(cx, id);
        let Some(member) = self.members.get_mut(seat as usize).and_then(Option::as_mut) else {
            return;
        };
        let mut lacking = Vec::new();
        for at in 0..member.stays.len() {
            let stay = &member.stays[at];
            if stay.waits {
                lacking.push(Rc::clone(&stay.room));
            } else if let Some(room) = self.rooms.get(&stay.room)
                && !room.catch_up(cx, self.counts, member, at)
            {
                member.lags = true;
                return;
            }
        }
        for room in lacking {
            self.enter(cx, seat, &room);
        }
        self.go_on(cx, seat);
    }
}

/// Writes one line, or counts it.
pub(crate) fn show(cx: &mut Context, member: &mut Member, notice: Notice<'_>) {
    if member.stage == Stage::Left && !matches!(notice, Notice::Told { .. }) {
        return;
    }
    let shown = line(notice, member.form, true, unix_ms());
    if cx.write(member.session, shown.as_bytes()) == Err(Error::Full) {
        member.skipped = member.skipped.saturating_add(1);
    }
}

/// Writes text of several lines, as it is.
pub(crate) fn write(cx: &mut Context, member: &mut Member, text: &str) {
    if cx.write(member.session, text.as_bytes()) == Err(Error::Full) {
        member.skipped = member.skipped.saturating_add(1);
    }
}
