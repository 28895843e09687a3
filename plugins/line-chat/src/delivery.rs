//! Whom a private line is shown, and what becomes of one that cannot be shown.
//!
//! A letter is for a session, not for a nick. It waits with whoever has written it: here, if that session is
//! here, and if he goes to another worker it goes along. A worker that hears of one for somebody who is on
//! his way keeps it until he is gone, and then gives it back.
//!
//! Invariant: whoever writes and stays is told of each of his letters that was not shown, or may not have been.

use polyport_plugin::prelude::*;

use crate::format::Notice;
use crate::mail::{Along, Fate, Letter};
use crate::member::{Id, Stage};
use crate::{Chat, is_away, names, now_ms, telling};

/// Letters of sessions here that wait for somebody who is on his way, and how long.
const DELAYED_MAX: usize = 1000;
const DELAYED_MS: u64 = 10_000;
pub(crate) const TOO_MUCH: &str = "not sent: too much waits for the link";

/// A letter that waits until it is known where whoever it is for is.
#[derive(Debug)]
pub(crate) struct Delayed {
    since_ms: u64,
    letter: Letter,
    /// A worker that he is not in any more.
    not_in: String,
}

impl Delayed {
    fn now(cx: &Context, letter: Letter, not_in: String) -> Delayed {
        Delayed {
            since_ms: now_ms(cx),
            letter,
            not_in,
        }
    }
}

impl Chat {
    // --- letters of sessions here --------------------------------------------------------------

    /// Fails with what whoever has written it is to be told.
    pub(crate) fn post(&mut self, cx: &mut Context, letter: Letter) -> Result<(), String> {
        let not_in = String::new();
        self.route(cx, Delayed::now(cx, letter, not_in))
    }

    fn post_again(&mut self, cx: &mut Context, delayed: Delayed) {
        let letter = delayed.letter.clone();
        if let Err(why) = self.route(cx, delayed) {
            self.send_back(cx, &letter, &why);
        }
    }

    /// To the session if it is here, else to the worker it is in.
    fn route(&mut self, cx: &mut Context, mut delayed: Delayed) -> Result<(), String> {
        let Letter { to, to_id, .. } = &delayed.letter;
        if self.is_leaving(cx, &delayed.letter.from, &delayed.letter.from_id) {
            return self.delay(cx, delayed);
        }
        let person = self.presence.with_id(to, to_id);
        let is_elsewhere = person.as_ref().is_some_and(|it| it.node != self.node);
        let seat = match is_elsewhere {
            // He may have come here and the others not know it yet.
            true => self.seat_called(to, to_id),
            false => self.seat_with(to, to_id),
        };
        if let Some(seat) = seat {
            if self.is_on_its_way(cx, seat) {
                return self.delay(cx, delayed);
            }
            self.show_letter(cx, seat, delayed.letter);
            return Ok(());
        }
        match person {
            None if !self.is_present => self.delay(cx, delayed),
            Some(person) if person.node == self.node || person.node == delayed.not_in => {
                self.delay(cx, delayed)
            }
            Some(person) if !person.node.is_empty() => {
                delayed.letter.to = names::fold(&person.nick);
                let sent = self.mail.send(cx, &person.node, &delayed.letter);
                sent.map_err(|_| TOO_MUCH.to_owned())
            }
            _ => Err(has_left(&delayed.letter)),
        }
    }

    fn delay(&mut self, cx: &mut Context, delayed: Delayed) -> Result<(), String> {
        if self.delayed.len() >= DELAYED_MAX {
            let hearer = &delayed.letter.to;
            return Err(format!(
                "not sent: {hearer} is on the way, and too much waits"
            ));
        }
        self.delayed.push(delayed);
        self.keep_ticking(cx);
        Ok(())
    }

    /// What the bus has done with a letter.
    pub(crate) fn posted(&mut self, cx: &mut Context, fate: Fate) {
        match fate {
            Fate::Fine => {}
            Fate::Back(letter, not_in) => self.post_again(cx, Delayed::now(cx, letter, not_in)),
            Fate::Refused(letter) => self.send_back(cx, &letter, TOO_MUCH),
            Fate::Unknown(letter) => {
                let hearer = &letter.to;
                let why = format!("{hearer} may not have heard you: its server does not answer");
                self.send_back(cx, &letter, &why);
            }
        }
    }

    /// No receipt has come in time.
    pub(crate) fn give_up_letters(&mut self, cx: &mut Context, now_ms: u64) {
        for letter in self.mail.expired(cx, now_ms) {
            self.posted(cx, Fate::Unknown(letter));
        }
    }

    /// Whether a worker is there.
    pub(crate) fn node_seen(&mut self, cx: &mut Context, node: &str, is_there: bool) {
        for fate in self.mail.node_seen(cx, node, is_there) {
            self.posted(cx, fate);
        }
    }

    /// Whoever has written it is told. If he is on his way, his next worker hears the same; should he stay after
    /// all, he is told that something was skipped.
    fn send_back(&mut self, cx: &mut Context, letter: &Letter, why: &str) {
        if let Some(seat) = self.seat_with(&names::fold(&letter.from), &letter.from_id) {
            self.tell(cx, seat, "error", why);
        }
    }

    /// What a session has written and has no receipt for, to go along with it.
    pub(crate) fn letters_of(&self, id: &str) -> Vec<Along> {
        let delayed = self.delayed.iter().filter(|it| it.letter.from_id == id);
        let delayed = delayed.map(|it| Along {
            key: String::new(),
            is_followed: true,
            letter: it.letter.clone(),
        });
        let mut letters: Vec<Along> = self.mail.sent_by(id).chain(delayed).collect();
        letters.sort_by(|one, other| one.key.cmp(&other.key));
        letters
    }

    /// They have gone along with it.
    pub(crate) fn let_letters_go(&mut self, cx: &mut Context, id: &str) {
        self.mail.let_go(cx, id);
        self.delayed.retain(|it| it.letter.from_id != id);
    }

    /// They have come along with it.
    pub(crate) fn take_letters(&mut self, cx: &mut Context, letters: Vec<Along>) {
        for along in letters {
            if along.key.is_empty() {
                self.post_again(cx, Delayed::now(cx, along.letter, String::new()));
            } else {
                let fate = self.mail.send_again(cx, along);
                self.posted(cx, fate);
            }
        }
    }

    // --- letters for sessions here -------------------------------------------------------------

    pub(crate) fn mail_came(&mut self, cx: &mut Context, key: &str, value: &[u8]) {
        if let Some(letter) = self.mail.receive(cx, key, value) {
            self.hand_over(cx, key.to_owned(), letter);
        }
    }

    fn hand_over(&mut self, cx: &mut Context, key: String, letter: Letter) {
        match self.seat_with(&letter.to, &letter.to_id) {
            None => self.mail.give_back(cx, &key),
            Some(seat) if self.is_on_its_way(cx, seat) => self.mail.keep(cx, key, letter),
            Some(seat) => {
                self.show_letter(cx, seat, letter);
                self.mail.confirm(cx, &key);
            }
        }
    }

    fn show_letter(&mut self, cx: &mut Context, seat: u32, letter: Letter) {
        let Some(member) = self.member(seat) else {
            return;
        };
        if !member.ignores(&names::fold(&letter.from)) {
            let (from, text) = (letter.from.as_str(), letter.text.as_str());
            telling::show(cx, member, Notice::Private { from, text });
            member.partner = Some(Box::new((letter.from_id, letter.from)));
        }
    }

    // --- letters that wait ---------------------------------------------------------------------

    /// Tries again what waits for the clock, or for anything.
    pub(crate) fn try_letters(&mut self, cx: &mut Context) {
        self.try_those(cx, |_| true);
    }

    /// A session has ended here, or is not on its way any more.
    pub(crate) fn try_letters_of(&mut self, cx: &mut Context, id: Id) {
        self.try_those(cx, |it| [&*it.to_id, &*it.from_id].contains(&id.text()));
    }

    /// Somebody has come, gone, or is called otherwise.
    pub(crate) fn try_letters_to(&mut self, cx: &mut Context, folded: &str, held: Option<&[u8]>) {
        let id = held.and_then(|value| value.split(|byte| *byte == b'\t').next());
        self.try_those(cx, |it| it.to == *folded || Some(it.to_id.as_bytes()) == id);
    }

    fn try_those(&mut self, cx: &mut Context, which: impl Fn(&Letter) -> bool) {
        for (key, letter) in self.mail.take_kept(&which) {
            self.hand_over(cx, key, letter);
        }
        let delayed = self.delayed.extract_if(.., |it| which(&it.letter));
        let delayed: Vec<Delayed> = delayed.collect();
        let now_ms = now_ms(cx);
        for delayed in delayed {
            let Letter { from, from_id, .. } = &delayed.letter;
            let is_over = delayed.since_ms + DELAYED_MS <= now_ms;
            if is_over && !self.is_leaving(cx, from, from_id) {
                self.send_back(cx, &delayed.letter, &has_left(&delayed.letter));
            } else {
                self.post_again(cx, delayed);
            }
        }
    }

    // --- sessions ------------------------------------------------------------------------------

    /// Who has that session here, and has not left; as long as he is called so, without looking at everybody.
    fn seat_with(&self, folded: &str, id: &str) -> Option<u32> {
        let seats = || (0..).zip(&self.members).map(|(seat, _)| seat);
        let mut others = seats().filter(|seat| self.has_session(*seat, id));
        self.seat_called(folded, id).or_else(|| others.next())
    }

    fn seat_called(&self, folded: &str, id: &str) -> Option<u32> {
        let seat = self.nicks.get(folded).copied();
        seat.filter(|seat| self.has_session(*seat, id))
    }

    fn has_session(&self, seat: u32, id: &str) -> bool {
        let member = self.members.get(seat as usize).and_then(Option::as_deref);
        member.is_some_and(|it| it.id.text() == id && it.stage != Stage::Left)
    }

    fn is_on_its_way(&mut self, cx: &mut Context, seat: u32) -> bool {
        self.member(seat)
            .is_some_and(|member| is_away(cx, member.session))
    }

    fn is_leaving(&mut self, cx: &mut Context, nick: &str, id: &str) -> bool {
        let seat = self.seat_with(&names::fold(nick), id);
        seat.is_some_and(|seat| self.is_on_its_way(cx, seat))
    }
}

fn has_left(letter: &Letter) -> String {
    format!("not delivered: {} has left", letter.to)
}
