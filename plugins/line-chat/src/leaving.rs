//! The end of a member: it leaves, or is lost, and then nothing of it is here.
//!
//! Invariant: a nick is given up once, and others hear of it once.

use polyport_plugin::prelude::*;

use crate::member::{Member, Stage};
use crate::presence::{PREFIX, Person};
use crate::{Chat, GHOSTS_MAX, Ghost, RESUME_MS, names, now_ms};

impl Chat {
    /// It leaves: everybody is told, and its output ends.
    pub(crate) fn leave(&mut self, cx: &mut Context, seat: u32, why: &str) {
        self.depart(cx, seat, why);
        self.end(cx, seat, if why.is_empty() { "has left" } else { why });
    }

    pub(crate) fn end(&mut self, cx: &mut Context, seat: u32, why: &str) {
        if let Some(member) = self.member(seat) {
            member.stage = Stage::Left;
            if cx.close(member.session, why) == Err(Error::Busy) {
                // Closed once it is writable, if it is not another worker's by then.
                let _ = cx.write(member.session, b"");
            }
        }
    }

    /// Gives up what it has, with the reason that others are shown.
    fn depart(&mut self, cx: &mut Context, seat: u32, why: &str) {
        let node = self.node.clone();
        let Some(member) = self.member(seat) else {
            return;
        };
        let token = member.token.clone();
        give_up_wanted(cx, member);
        if member.is_named() && member.stage != Stage::Left {
            let person = Person {
                rooms: Vec::new(),
                why: why.chars().take(80).collect(),
                ..member.person(&node)
            };
            let key = member.key();
            let _ = cx.claim(&key, person.encode().as_bytes(), token.as_bytes());
            let _ = cx.release(&key, token.as_bytes());
        }
        self.forget(cx, seat);
    }

    /// Its session has ended, and not by carrying.
    pub(crate) fn lost(&mut self, cx: &mut Context, seat: u32, why: End) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let was_lost = matches!(why, End::Lost | End::Idle | End::Limit);
        if !(member.may_resume && was_lost && member.is_named() && member.stage != Stage::Left) {
            return self.depart(cx, seat, "connection lost");
        }
        let (key, token) = (member.key(), member.token.clone());
        give_up_wanted(cx, member);
        member.stays.clear();
        let mut person = member.person("");
        person.why = "connection lost".to_owned();
        if cx
            .claim(&key, person.encode().as_bytes(), token.as_bytes())
            .is_ok()
        {
            let until_ms = now_ms(cx) + RESUME_MS;
            self.ghosts.push_back(Ghost {
                until_ms,
                key,
                token,
            });
            if self.ghosts.len() > GHOSTS_MAX
                && let Some(oldest) = self.ghosts.pop_front()
            {
                let _ = cx.release(&oldest.key, oldest.token.as_bytes());
            }
        }
        self.forget(cx, seat);
        self.keep_ticking(cx);
    }

    /// It is in none of our lists any more; its leases stay as they are.
    pub(crate) fn forget(&mut self, cx: &mut Context, seat: u32) {
        self.leave_rooms(cx, seat);
        let Some(member) = self.member(seat) else {
            return;
        };
        let folded = member.folded();
        let claims = [
            member.claim.take(),
            member.wanted.take().and_then(|wanted| wanted.claim),
        ];
        for claim in claims.into_iter().flatten() {
            self.claims.remove(&claim);
        }
        if self.nicks.get(&folded) == Some(&seat) {
            self.nicks.remove(&folded);
            cx.set(self.counts.members, self.nicks.len() as i64);
        }
    }
}

/// Nobody is there to have the nick that was asked for.
fn give_up_wanted(cx: &mut Context, member: &Member) {
    if let Some(wanted) = &member.wanted {
        let key = format!("{PREFIX}{}", names::fold(&wanted.nick));
        let _ = cx.release(&key, member.token.as_bytes());
    }
}
