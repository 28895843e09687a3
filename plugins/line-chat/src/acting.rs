//! What people ask for, done.

use polyport_plugin::bus::Start;
use polyport_plugin::prelude::*;

use crate::command::{self, Command, Switch};
use crate::format::{Notice, Times};
use crate::gaps::Look;
use crate::mail::{self, Letter};
use crate::message::Kind;
use crate::presence::Person;
use crate::rules::Order;
use crate::stranded::OUT_OF_REACH;
use crate::{Chat, IGNORED_MAX, clock, names, rooms, telling, unix_ms};

/// Lines that /history shows at most.
const HISTORY_MAX: usize = 1000;
/// Characters of what somebody is away for, and of why he leaves.
const REASON_CHARS_MAX: usize = 80;
/// Characters of a topic.
const TOPIC_CHARS_MAX: usize = 200;

/// What whoever is muted is told when he would show others a text by any way.
pub(crate) const UNHEARD: &str = "you are muted: nobody hears you";
const KEEPS_NICK: &str = "you are muted, and keep your nick until you may speak again";
const MAKES_NO_ROOM: &str = "you are muted, and may go into rooms that are there only";

impl Chat {
    pub(crate) fn act(
        &mut self,
        cx: &mut Context,
        seat: u32,
        command: Command,
        room: Option<String>,
    ) {
        match command {
            Command::Nothing => {}
            Command::Say(text) => self.say(cx, seat, Kind::Text, &text, room),
            Command::Me(text) => self.say(cx, seat, Kind::Action, &text, room),
            Command::Help(topic) => self.help(cx, seat, topic),
            Command::Quit(why) => {
                let why = if self.is_muted(seat) { "" } else { &why };
                self.leave(cx, seat, &cut(why, REASON_CHARS_MAX));
            }
            Command::Who(room) => self.who(cx, seat, room),
            Command::Names => self.names(cx, seat),
            Command::Rooms => self.list_rooms(cx, seat),
            Command::Join { room, key } => self.go_to(cx, seat, &room, &key),
            Command::Part(room) => self.part_from(cx, seat, room),
            Command::Topic(text) => self.topic(cx, seat, text),
            Command::Nick(nick) => match names::check_nick(&nick, self.choices.nick_max) {
                Ok(()) if self.is_muted(seat) => self.tell(cx, seat, "error", KEEPS_NICK),
                Ok(()) => self.claim(cx, seat, &nick, None),
                Err(why) => self.tell(cx, seat, "error", &why),
            },
            Command::Msg { to, text } => match self.presence.named(&names::fold(&to)) {
                Some(person) if !person.node.is_empty() => self.message(cx, seat, &person, &text),
                _ => self.tell(cx, seat, "error", &format!("there is no {to} here")),
            },
            Command::Reply(text) => self.reply(cx, seat, &text),
            Command::Whois(nick) => self.whois(cx, seat, &nick),
            Command::Away(text) => self.away(cx, seat, Some(&cut(&text, REASON_CHARS_MAX))),
            Command::Back => self.away(cx, seat, None),
            Command::Ignore(nick) => self.ignore(cx, seat, nick),
            Command::Unignore(nick) => {
                let folded = names::fold(&nick);
                if let Some(member) = self.member(seat) {
                    member.ignored.retain(|it| **it != *folded);
                }
                self.tell(cx, seat, "reply", &format!("you hear {nick}"));
            }
            Command::Switch(switch, on) => self.switch(cx, seat, switch, on),
            Command::Time(times) => self.times(cx, seat, &times),
            Command::Mode(mode) => self.mode(cx, seat, &mode),
            Command::History(count) => self.history(cx, seat, count),
            Command::Motd => self.say_motd(cx, seat),
            Command::Uptime => {
                let text = format!(
                    "up for {}",
                    clock::lasted(unix_ms().saturating_sub(self.started_ms))
                );
                self.tell(cx, seat, "reply", &text);
            }
            Command::Token => self.token(cx, seat),
            Command::Resume(_) => {
                self.tell(
                    cx,
                    seat,
                    "error",
                    "/resume TOKEN comes in place of a nick, at the start",
                );
            }
            Command::Op(password) => self.op(cx, seat, &password),
            Command::Kick { .. }
            | Command::Ban { .. }
            | Command::Unban(_)
            | Command::Bans
            | Command::Mute { .. }
            | Command::Unmute(_)
            | Command::Lock { .. }
            | Command::Unlock(_)
            | Command::Limit { .. }
            | Command::Announce(_) => self.operate(cx, seat, command),
        }
    }

    fn help(&mut self, cx: &mut Context, seat: u32, topic: Option<String>) {
        if let Some(topic) = topic {
            return self.tell(cx, seat, "reply", &command::usage(&topic));
        }
        let operator = self.member(seat).is_some_and(|member| member.operator);
        let more = if operator {
            command::OPERATORS_HELP
        } else {
            &[]
        };
        for (usage, what) in command::HELP.iter().chain(more) {
            self.tell(cx, seat, "reply", &format!("{usage:<22} {what}"));
        }
    }

    fn who(&mut self, cx: &mut Context, seat: u32, room: Option<String>) {
        let room = match room.map(|room| names::room(&room)).transpose() {
            Ok(room) => room,
            Err(why) => return self.tell(cx, seat, "error", &why),
        };
        let now_ms = unix_ms();
        let is_there = |person: &Person| match &room {
            Some(room) => person.rooms.contains(room),
            None => !person.rooms.is_empty(),
        };
        let people: Vec<Person> = self.presence.people().filter(is_there).collect();
        if let Some(room) = room.as_ref().filter(|_| people.is_empty()) {
            return self.tell(cx, seat, "reply", &format!("nobody is in #{room}"));
        }
        let width = people
            .iter()
            .map(|it| it.nick.len())
            .max()
            .unwrap_or(0)
            .max(4);
        let rows = people.iter().map(|person| {
            let mark = if person.operator { "@" } else { " " };
            let since = clock::lasted(now_ms.saturating_sub(person.since_ms));
            let away = if person.away.is_empty() {
                String::new()
            } else {
                format!(" (away: {})", person.away)
            };
            format!(
                "{mark}{:<width$}  {since:<7}  #{}{away}",
                person.nick,
                person.rooms.join(" #")
            )
        });
        let rows: Vec<String> = rows.collect();
        self.tell(
            cx,
            seat,
            "reply",
            &format!(" {:<width$}  here     rooms", "nick"),
        );
        for row in rows {
            self.tell(cx, seat, "reply", &row);
        }
    }

    fn names(&mut self, cx: &mut Context, seat: u32) {
        let member = self.member(seat);
        let Some((room, own)) =
            member.and_then(|it| Some((it.room()?.clone(), it.nick.to_string())))
        else {
            return self.tell(cx, seat, "error", "you are in no room");
        };
        let people = self
            .presence
            .people()
            .filter(|it| it.rooms.iter().any(|it| **it == *room));
        let mut nicks: Vec<String> = people.map(|person| person.nick).collect();
        // Its own coming may not have gone round yet.
        if !nicks.contains(&own) {
            nicks.push(own);
        }
        let text = format!("#{room}: {}", nicks.join(" "));
        self.tell(cx, seat, "reply", &text);
    }

    fn list_rooms(&mut self, cx: &mut Context, seat: u32) {
        let rules = &self.rules;
        let row = |(room, count): (&str, usize)| {
            let topic = rules.of_room(room).topic;
            format!("#{room:<16} {count:>5}  {topic}")
                .trim_end()
                .to_owned()
        };
        let rows: Vec<String> = self.presence.rooms().into_iter().map(row).collect();
        for row in rows {
            self.tell(cx, seat, "reply", &row);
        }
    }

    pub(crate) fn go_to(&mut self, cx: &mut Context, seat: u32, room: &str, key: &str) {
        let room = match names::room(room) {
            Ok(room) => room,
            Err(why) => return self.tell(cx, seat, "error", &why),
        };
        let fixed = &self.choices.fixed_rooms;
        if !fixed.is_empty() && !fixed.contains(&room) && room != self.choices.room {
            cx.add(self.counts.joins_refused, 1);
            let others = fixed.iter().filter(|it| **it != self.choices.room);
            let mut text = format!("there is no #{room}; there are #{}", self.choices.room);
            others.for_each(|it| text += &format!(" #{it}"));
            return self.tell(cx, seat, "error", &text);
        }
        let rules = self.rules.of_room(&room);
        let count = self.presence.count(&room);
        let is_made = count == 0 && fixed.is_empty() && room != self.choices.room;
        let Some(member) = self.member(seat) else {
            return;
        };
        if let Some(at) = member.stay(&room) {
            member.current = at;
            return self.tell(cx, seat, "room", &format!("you speak in #{room}"));
        }
        if is_made && self.is_muted(seat) {
            cx.add(self.counts.joins_refused, 1);
            return self.tell(cx, seat, "error", MAKES_NO_ROOM);
        }
        let Some(member) = self.member(seat) else {
            return;
        };
        let closed = rules
            .lock
            .is_some_and(|lock| lock.is_empty() || lock != key);
        if !member.operator && (closed || (rules.limit > 0 && count >= rules.limit)) {
            let why = if closed { "locked" } else { "full" };
            cx.add(self.counts.joins_refused, 1);
            return self.tell(cx, seat, "error", &format!("#{room} is {why}"));
        }
        self.join(cx, seat, &room);
    }

    fn part_from(&mut self, cx: &mut Context, seat: u32, room: Option<String>) {
        let current = self
            .member(seat)
            .and_then(|member| member.room().map(ToString::to_string));
        match room.map(|room| names::room(&room)).or(current.map(Ok)) {
            Some(Ok(room)) => self.part(cx, seat, &room),
            Some(Err(why)) => self.tell(cx, seat, "error", &why),
            None => self.tell(cx, seat, "error", "you are in no room"),
        }
    }

    fn topic(&mut self, cx: &mut Context, seat: u32, text: Option<String>) {
        let member = self.member(seat);
        let Some((room, nick)) =
            member.and_then(|it| Some((it.room()?.to_string(), it.nick.to_string())))
        else {
            return self.tell(cx, seat, "error", "you are in no room");
        };
        if let Some(text) = text {
            if self.is_muted(seat) {
                return self.tell(cx, seat, "error", UNHEARD);
            }
            let text = match text.as_str() {
                "-" => String::new(),
                text => cut(text, TOPIC_CHARS_MAX),
            };
            return self.give(cx, seat, &Order::Topic { room, nick, text });
        }
        let topic = self.rules.of_room(&room).topic;
        let text = if topic.is_empty() {
            format!("#{room} has no topic")
        } else {
            format!("#{room}: {topic}")
        };
        self.tell(cx, seat, "reply", &text);
    }

    /// To the session that has written last, whatever it is called now.
    fn reply(&mut self, cx: &mut Context, seat: u32, text: &str) {
        let partner = self.member(seat).and_then(|member| member.partner.clone());
        let Some((id, nick)) = partner.as_deref() else {
            return self.tell(cx, seat, "error", "nobody has written to you yet");
        };
        match self.presence.with_id(&names::fold(nick), id) {
            Some(person) if !person.node.is_empty() => {
                if person.nick != *nick
                    && let Some(member) = self.member(seat)
                {
                    member.partner = Some(Box::new((id.clone(), person.nick.clone())));
                }
                self.message(cx, seat, &person, text);
            }
            _ => self.tell(cx, seat, "error", &format!("{nick} has left")),
        }
    }

    fn message(&mut self, cx: &mut Context, seat: u32, person: &Person, text: &str) {
        if self.is_muted(seat) {
            return self.tell(cx, seat, "error", UNHEARD);
        }
        let Some(member) = self.member(seat) else {
            return;
        };
        let (from, from_id) = (member.nick.to_string(), member.id.text().to_owned());
        if self.is_alone && person.node != self.node {
            return self.tell(cx, seat, "error", &format!("not sent: {OUT_OF_REACH}"));
        }
        for piece in mail::pieces(text) {
            let letter = Letter {
                to: names::fold(&person.nick),
                to_id: person.id.clone(),
                from: from.clone(),
                from_id: from_id.clone(),
                moves: 0,
                text: piece.to_owned(),
            };
            if let Err(why) = self.post(cx, letter) {
                return self.tell(cx, seat, "error", &why);
            }
        }
        self.show(
            cx,
            seat,
            Notice::Sent {
                to: &person.nick,
                text,
            },
        );
        if !person.away.is_empty() {
            let text = format!("{} is away: {}", person.nick, person.away);
            self.tell(cx, seat, "notice", &text);
        }
    }

    fn whois(&mut self, cx: &mut Context, seat: u32, nick: &str) {
        let Some(person) = self.presence.named(&names::fold(nick)) else {
            return self.tell(cx, seat, "error", &format!("there is no {nick} here"));
        };
        let mut text = format!(
            "{}: here for {}, in {}",
            person.nick,
            clock::lasted(unix_ms().saturating_sub(person.since_ms)),
            match person.rooms[..] {
                [] => "no room".to_owned(),
                _ => format!("#{}", person.rooms.join(" #")),
            }
        );
        if person.operator {
            text += ", an operator";
        }
        if !person.away.is_empty() {
            text += &format!(", away: {}", person.away);
        }
        if self.member(seat).is_some_and(|member| member.operator) {
            text += &format!(", from {}", person.address);
        }
        self.tell(cx, seat, "reply", &text);
    }

    fn away(&mut self, cx: &mut Context, seat: u32, text: Option<&str>) {
        if text.is_some_and(|text| !text.is_empty()) && self.is_muted(seat) {
            return self.tell(cx, seat, "error", UNHEARD);
        }
        let Some(member) = self.member(seat) else {
            return;
        };
        member.away = text.map(|text| if text.is_empty() { "away" } else { text }.into());
        let said = if text.is_some() {
            "you are away"
        } else {
            "you are back"
        };
        self.announce_self(cx, seat);
        self.tell(cx, seat, "reply", said);
    }

    fn ignore(&mut self, cx: &mut Context, seat: u32, nick: Option<String>) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let text = match nick {
            None if member.ignored.is_empty() => "you ignore nobody".to_owned(),
            None => format!("you ignore {}", member.ignored.join(" ")),
            Some(_) if member.ignored.len() >= IGNORED_MAX => {
                format!("you ignore {IGNORED_MAX} already")
            }
            Some(nick) => {
                let folded = names::fold(&cut(&nick, 32));
                if !member.ignores(&folded) {
                    member.ignored.push(folded.into());
                }
                format!("you ignore {nick}")
            }
        };
        self.tell(cx, seat, "reply", &text);
    }

    fn switch(&mut self, cx: &mut Context, seat: u32, switch: Switch, on: Option<bool>) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let (name, state) = match switch {
            Switch::Quiet => ("quiet", &mut member.quiet),
            Switch::Echo => ("echo", &mut member.echo),
            Switch::Color => ("color", &mut member.form.color),
        };
        *state = on.unwrap_or(!*state);
        let text = format!("{name} is {}", if *state { "on" } else { "off" });
        self.tell(cx, seat, "reply", &text);
    }

    fn times(&mut self, cx: &mut Context, seat: u32, times: &str) {
        let chosen = match times {
            "off" => Times::Off,
            "hm" => Times::Minutes,
            "iso" => Times::Iso,
            _ => return self.tell(cx, seat, "error", &command::usage("time")),
        };
        if let Some(member) = self.member(seat) {
            member.form.times = chosen;
        }
        self.tell(cx, seat, "reply", &format!("time is {times}"));
    }

    fn mode(&mut self, cx: &mut Context, seat: u32, mode: &str) {
        if !matches!(mode, "json" | "text") {
            return self.tell(cx, seat, "error", &command::usage("mode"));
        }
        if let Some(member) = self.member(seat) {
            member.form.json = mode == "json";
        }
        self.tell(cx, seat, "reply", &format!("mode is {mode}"));
    }

    /// From what is at hand, or else from the bus.
    fn history(&mut self, cx: &mut Context, seat: u32, count: Option<usize>) {
        let count = count.unwrap_or(self.choices.history).min(HISTORY_MAX);
        let member = self.member(seat);
        let Some((session, name)) = member.and_then(|it| Some((it.session, it.room()?.clone())))
        else {
            return self.tell(cx, seat, "error", "you are in no room");
        };
        let is_own = |look: &Look| look.session == session && !look.fills;
        if self.looks.values().any(is_own) {
            return self.tell(
                cx,
                seat,
                "error",
                "what you asked for before is still coming",
            );
        }
        match cx.history(&rooms::topic(&name), Start::Last(count as u64)) {
            Ok(look) => {
                let (room, fills) = (name, false);
                self.looks.insert(
                    look,
                    Look {
                        session,
                        seat,
                        room,
                        fills,
                    },
                );
            }
            Err(_) => self.tell(
                cx,
                seat,
                "error",
                "too many look at the history now; try again later",
            ),
        }
    }

    fn token(&mut self, cx: &mut Context, seat: u32) {
        let Some(member) = self.member(seat) else {
            return;
        };
        member.may_resume = true;
        let text = format!("/resume {}:{}", member.nick, member.token);
        telling::show(
            cx,
            member,
            Notice::Told {
                kind: "token",
                text: &text,
            },
        );
    }
}

/// No more than so many characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
