//! From the greeting to a nick.
//!
//! A nick is a lease of the bus: who has it is decided there, whatever this worker believes. Invariant:
//! a member with a nick has claimed it, and gives it up once, when it leaves.

use polyport_plugin::bus::Lease;
use polyport_plugin::prelude::*;

use crate::command::{self, Command};
use crate::format::Notice;
use crate::member::{Member, Stage, Wanted, secret};
use crate::operating::because;
use crate::presence::{PREFIX, Person};
use crate::stranded::OUT_OF_REACH;
use crate::{Chat, clock, is_away, json, names, now_ms, telling, unix_ms};

/// Nicks that are looked at for one that nobody has.
const SUGGESTIONS_MAX: usize = 100;

impl Chat {
    pub(crate) fn greet(&mut self, cx: &mut Context, seat: u32) {
        let now_ms = now_ms(cx);
        let (login, idle) = (self.choices.login, self.choices.idle);
        let Some(member) = self.member(seat) else {
            return;
        };
        let (session, ip) = (member.session, member.ip());
        let _ = cx.idle(session, idle);
        if let Some(wait_s) = self.arrivals.refused_s(ip, now_ms) {
            let text = format!("too many sessions from your address; come back in {wait_s} s");
            self.tell(cx, seat, "error", &text);
            return self.leave(cx, seat, "too many joins");
        }
        if self.is_banned(cx, seat, "") {
            return;
        }
        self.say_motd(cx, seat);
        self.prompt(cx, seat);
        let until_ms = now_ms + u64::try_from(login.as_millis()).unwrap_or(u64::MAX);
        self.logins.push_back((until_ms, seat, session));
        self.keep_ticking(cx);
    }

    pub(crate) fn say_motd(&mut self, cx: &mut Context, seat: u32) {
        for line in self.choices.motd.clone() {
            self.tell(cx, seat, "motd", &line);
        }
    }

    fn prompt(&mut self, cx: &mut Context, seat: u32) {
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.form.json {
            telling::show(
                cx,
                member,
                Notice::Told {
                    kind: "prompt",
                    text: "nick",
                },
            );
        } else {
            telling::write(cx, member, "nick: ");
        }
    }

    /// A line of somebody without a nick: that is what it is to be.
    pub(crate) fn greeted(&mut self, cx: &mut Context, seat: u32, line: &str) {
        let line = line.trim();
        if line == "JSON" {
            return self.greet_in(cx, seat, true);
        }
        let command = match json::parse(line) {
            Some(Ok((Command::Say(nick), _))) => Ok(Command::Nick(nick)),
            Some(Ok((command, _))) => Ok(command),
            Some(Err(why)) => Err(why),
            None if line.starts_with('/') => command::parse(line, false),
            None => Ok(Command::Nick(
                line.strip_prefix("NICK ").unwrap_or(line).trim().to_owned(),
            )),
        };
        match command {
            Ok(Command::Nick(nick)) if nick.is_empty() || names::fold(&nick) == "guest" => {
                self.claim_guest(cx, seat);
            }
            Ok(Command::Nick(nick)) => match names::check_nick(&nick, self.choices.nick_max) {
                Ok(()) => self.claim(cx, seat, &nick, None),
                Err(why) => self.ask_again(cx, seat, &why),
            },
            Ok(Command::Resume(token)) => self.resume(cx, seat, &token),
            Ok(Command::Quit(_)) => self.leave(cx, seat, ""),
            Ok(Command::Mode(mode)) if mode == "json" || mode == "text" => {
                self.greet_in(cx, seat, mode == "json");
            }
            Ok(_) => self.ask_again(
                cx,
                seat,
                "first say what you want to be called; an empty line makes you a guest",
            ),
            Err(why) => self.ask_again(cx, seat, &why),
        }
    }

    /// Asks in another form from now on. The question that stands there has no end of its own, and an
    /// object begins a line.
    fn greet_in(&mut self, cx: &mut Context, seat: u32, json: bool) {
        if let Some(member) = self.member(seat) {
            if json && !member.form.json {
                telling::write(cx, member, "\r\n");
            }
            member.form.json = json;
        }
        self.prompt(cx, seat);
    }

    fn ask_again(&mut self, cx: &mut Context, seat: u32, why: &str) {
        self.tell(cx, seat, "error", why);
        self.prompt(cx, seat);
    }

    pub(crate) fn claim_guest(&mut self, cx: &mut Context, seat: u32) {
        let digits = u64::from_str_radix(&secret(8), 16).unwrap_or(0);
        let nick = format!("guest{}", 100 + digits % 900_000);
        self.claim(cx, seat, &nick, None);
        if let Some(wanted) = self.member(seat).and_then(|member| member.wanted.as_mut()) {
            wanted.guest = true;
        }
    }

    fn resume(&mut self, cx: &mut Context, seat: u32, token: &str) {
        let chars_max = self.choices.nick_max;
        let is_token = |(nick, secret): &(&str, &str)| {
            let is_secret = secret.len() == 32 && secret.bytes().all(|it| it.is_ascii_hexdigit());
            is_secret && names::is_nick(nick, chars_max)
        };
        let parts = token.trim().rsplit_once(':');
        let Some((nick, secret)) = parts.filter(is_token) else {
            return self.ask_again(cx, seat, "a token is what /token has shown you");
        };
        self.claim(cx, seat, nick, Some(secret));
    }

    /// Asks the bus for a nick; the member waits until it has said.
    pub(crate) fn claim(&mut self, cx: &mut Context, seat: u32, nick: &str, token: Option<&str>) {
        let folded = names::fold(nick);
        let is_named = self.member(seat).is_some_and(|member| member.is_named());
        if is_named && self.rules.banned(&folded, None, unix_ms()).is_some() {
            self.tell(
                cx,
                seat,
                "error",
                &format!("{nick} is banned; you keep your nick"),
            );
            return self.free_to_talk(cx, seat);
        }
        if self.is_banned(cx, seat, &folded) {
            return;
        }
        let is_alone = self.is_alone;
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.is_named() && is_alone {
            return self.tell(
                cx,
                seat,
                "error",
                &format!("{OUT_OF_REACH}; you are still called so"),
            );
        }
        if let Some(token) = token {
            member.token = token.into();
        }
        let wanted = Wanted {
            nick: nick.to_owned(),
            claim: None,
            resumes: token.is_some(),
            guest: false,
        };
        member.wanted = Some(Box::new(wanted));
        member.stage = Stage::Claiming;
        let _ = cx.pause(member.session);
        if !member.announcing {
            self.claim_wanted(cx, seat);
        }
        if is_alone {
            self.strand(cx, seat);
        }
    }

    /// Asks for the nick that the member wants, which nothing stands before any more.
    fn claim_wanted(&mut self, cx: &mut Context, seat: u32) {
        let node = self.node.clone();
        let Some(member) = self.member(seat) else {
            return;
        };
        let wanted = member.wanted.as_ref().filter(|it| it.claim.is_none());
        let Some(nick) = wanted.map(|wanted| wanted.nick.clone()) else {
            return;
        };
        let folded = names::fold(&nick);
        let was = if member.is_named() {
            member.folded()
        } else {
            String::new()
        };
        let person = Person {
            nick,
            was: if was == folded { String::new() } else { was },
            ..member.person(&node)
        };
        let key = format!("{PREFIX}{folded}");
        let why = match cx.claim(&key, person.encode().as_bytes(), member.token.as_bytes()) {
            Ok(claim) => {
                if let Some(wanted) = &mut member.wanted {
                    wanted.claim = Some(claim);
                }
                self.claims.insert(claim, seat);
                return;
            }
            Err(Error::Argument) => "that is no token",
            Err(_) => "there are too many people here; try again later",
        };
        member.wanted = None;
        self.keep_name(cx, seat, why);
    }

    /// It is not called as it wanted to be.
    fn keep_name(&mut self, cx: &mut Context, seat: u32, why: &str) {
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.is_named() {
            member.stage = Stage::Talking;
            self.tell(cx, seat, "error", why);
        } else {
            member.stage = Stage::Nick;
            self.ask_again(cx, seat, why);
        }
        self.go_on(cx, seat);
    }

    /// What the bus says of a claim.
    pub(crate) fn leased(&mut self, cx: &mut Context, claim: ClaimId, lease: Lease, value: &[u8]) {
        let Some(&seat) = self.claims.get(&claim) else {
            return;
        };
        let Some(member) = self.member(seat) else {
            self.claims.remove(&claim);
            return;
        };
        let is_it = |wanted: &mut Box<Wanted>| wanted.claim == Some(claim);
        let wanted = member.wanted.take_if(is_it);
        member.announcing &= member.claim != Some(claim);
        match (lease, wanted) {
            (Lease::Won, Some(wanted)) => self.named(cx, seat, &wanted),
            // Whatever was said under the old nick is heard before the new one.
            (Lease::Won, None) if !member.announcing => self.claim_wanted(cx, seat),
            (Lease::Won, None) => {}
            (Lease::Denied | Lease::Lost, Some(wanted)) => {
                self.claims.remove(&claim);
                self.refused(cx, seat, &wanted);
            }
            (Lease::Denied | Lease::Lost, None) => {
                self.claims.remove(&claim);
                self.taken(cx, seat, value);
            }
        }
    }

    fn refused(&mut self, cx: &mut Context, seat: u32, wanted: &Wanted) {
        if wanted.guest {
            return self.claim_guest(cx, seat);
        }
        cx.add(self.counts.nicks_refused, 1);
        let nick = &wanted.nick;
        let mut other = names::suggestion(nick, self.choices.nick_max);
        // So many at most as are looked at in no time.
        for _ in 0..SUGGESTIONS_MAX {
            if self.presence.named(&names::fold(&other)).is_none() {
                break;
            }
            other = names::suggestion(&other, self.choices.nick_max);
        }
        let why = if wanted.resumes {
            format!("{nick} cannot be taken back with that token")
        } else {
            format!("{nick} is taken; try {other}")
        };
        self.keep_name(cx, seat, &why);
    }

    /// The nick is its own.
    fn named(&mut self, cx: &mut Context, seat: u32, wanted: &Wanted) {
        let folded = names::fold(&wanted.nick);
        if let Some(other) = self
            .nicks
            .get(&folded)
            .copied()
            .filter(|other| *other != seat)
        {
            // It is resumed in the worker it was in.
            self.forget(cx, other);
            self.tell(cx, other, "notice", "you came back in another session");
            self.end(cx, other, "resumed elsewhere");
        }
        self.ghosts
            .retain(|ghost| ghost.key != format!("{PREFIX}{folded}"));
        let (room, node) = (self.choices.room.clone(), self.node.clone());
        let Some(member) = self.member(seat) else {
            return;
        };
        let before = member.is_named().then(|| (member.key(), member.folded()));
        let old_claim = std::mem::replace(&mut member.claim, wanted.claim);
        member.announcing = false;
        member.nick = wanted.nick.clone().into();
        let token = member.token.clone();
        let called = member.person(&node).encode();
        if let Some(claim) = old_claim {
            self.claims.remove(&claim);
        }
        self.nicks.insert(folded.clone(), seat);
        cx.set(self.counts.members, self.nicks.len() as i64);
        match before {
            None => {
                cx.add(self.counts.logins, 1);
                let text = format!("you are {}; /help says what you can do", wanted.nick);
                self.tell(cx, seat, "welcome", &text);
                self.go_to(cx, seat, &room, "");
                self.begin_outside(cx, seat);
            }
            Some((key, old)) => {
                if old != folded {
                    self.nicks.remove(&old);
                    cx.set(self.counts.members, self.nicks.len() as i64);
                    // Who hears of this first hears how it is called.
                    let _ = cx.claim(&key, called.as_bytes(), token.as_bytes());
                    let _ = cx.release(&key, token.as_bytes());
                }
                let text = format!("you are {} now", wanted.nick);
                self.tell(cx, seat, "reply", &text);
                self.free_to_talk(cx, seat);
            }
        }
    }

    /// It may not come into the room that everybody comes into, and was told why.
    fn begin_outside(&mut self, cx: &mut Context, seat: u32) {
        let is_outside = |member: &&mut Member| member.stage == Stage::Claiming;
        if self.member(seat).filter(is_outside).is_some() {
            self.announce_self(cx, seat);
            let text =
                "you are in no room; /rooms lists those that there are, /join ROOM goes into one";
            self.tell(cx, seat, "room", text);
            self.free_to_talk(cx, seat);
        }
    }

    /// Another session has the nick of this one: its owner, come back, or the winner of a race while
    /// the bus was in two parts.
    fn taken(&mut self, cx: &mut Context, seat: u32, value: &[u8]) {
        let holder = Person::decode(value);
        let Some(member) = self.member(seat) else {
            return;
        };
        if !member.is_named() || (member.exported && is_away(cx, member.session)) {
            return;
        }
        let (nick, key, id) = (member.nick.clone(), member.key(), member.id);
        if holder.as_ref().is_some_and(|it| *it.id == *id.text()) {
            // A worker that this session has left was late with it.
            return self.announce_self(cx, seat);
        }
        let token = member.token.clone();
        let resumed =
            holder.is_some_and(|it| it.was.is_empty() && it.rooms.is_empty()) && member.may_resume;
        self.nicks.remove(&names::fold(&nick));
        let _ = cx.release(&key, token.as_bytes());
        if resumed {
            self.forget(cx, seat);
            self.tell(cx, seat, "notice", "you came back in another session");
            return self.end(cx, seat, "resumed elsewhere");
        }
        if let Some(member) = self.member(seat) {
            (member.claim, member.announcing) = (None, false);
        }
        let text = format!("{nick} was taken by somebody else while the link was lost");
        self.tell(cx, seat, "notice", &text);
        self.claim_guest(cx, seat);
    }

    /// Tells everybody anew what there is to know of it.
    pub(crate) fn announce_self(&mut self, cx: &mut Context, seat: u32) {
        let node = self.node.clone();
        let Some(member) = self.member(seat) else {
            return;
        };
        if !member.is_named() {
            return;
        }
        let value = member.person(&node).encode();
        if let Ok(claim) = cx.claim(&member.key(), value.as_bytes(), member.token.as_bytes()) {
            let old = member.claim.replace(claim);
            member.announcing = true;
            if let Some(old) = old {
                self.claims.remove(&old);
            }
            self.claims.insert(claim, seat);
        }
    }

    /// Whether it is banned; then it is told, and leaves.
    pub(crate) fn is_banned(&mut self, cx: &mut Context, seat: u32, folded: &str) -> bool {
        let ip = self.member(seat).and_then(|member| member.ip());
        let now_ms = unix_ms();
        let Some(ban) = self.rules.banned(folded, ip, now_ms) else {
            return false;
        };
        let left = clock::left(ban.until_ms - now_ms);
        let what = format!("you are banned for another {left}");
        let text = because(&what, &ban.why);
        self.tell(cx, seat, "error", &text);
        self.leave(cx, seat, "banned");
        true
    }
}
