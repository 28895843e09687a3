//! Going into rooms, out of them, and speaking there.
//!
//! A worker follows a room as long as one of its sessions is in it. Invariant: each stay of a member
//! has its room in `rooms`, with the member in its list.

use std::rc::Rc;

use polyport_plugin::bus::{Message, Start};
use polyport_plugin::prelude::*;

use crate::acting::UNHEARD;
use crate::format::Notice;
use crate::member::{Member, Stage, Stay};
use crate::message::{Kind, Said};
use crate::presence::Change;
use crate::room::{Entry, Room};
use crate::waiting::Pending;
use crate::{Chat, ROOMS_MAX, names, telling, unix_ms};

/// Bytes of history that are shown at once: less than the least that a session's output holds.
const HISTORY_BYTES_MAX: usize = 32 * 1024;

impl Chat {
    pub(crate) fn join(&mut self, cx: &mut Context, seat: u32, room: &str) {
        let name = self.follow(cx, room);
        let Some(name) = name else {
            cx.add(self.counts.joins_refused, 1);
            let text = format!("#{room} cannot be followed now; try again later");
            self.tell(cx, seat, "error", &text);
            return self.free_to_talk(cx, seat);
        };
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.stays.len() >= ROOMS_MAX {
            let text = format!("you are in {ROOMS_MAX} rooms; leave one with /part");
            self.tell(cx, seat, "error", &text);
            cx.add(self.counts.joins_refused, 1);
            return self.free_to_talk(cx, seat);
        }
        // Nearly everybody is in one.
        member.stays.reserve_exact(1);
        member.stays.push(Stay {
            room: Rc::clone(&name),
            seen: 0,
            waits: true,
            carried: false,
        });
        member.current = member.stays.len() - 1;
        member.stage = Stage::Entering;
        let _ = cx.pause(member.session);
        if let Some(room) = self.rooms.get_mut(&name) {
            room.members.push(seat);
        }
        self.announce_self(cx, seat);
        self.enter(cx, seat, &name);
    }

    fn follow(&mut self, cx: &mut Context, room: &str) -> Option<Rc<str>> {
        if let Some(room) = self.rooms.get(room) {
            return Some(Rc::clone(&room.name));
        }
        let count = Room::lines_max(self.choices.history) as u64;
        let subscription = cx.subscribe(&topic(room), Start::Last(count)).ok()?;
        let name: Rc<str> = Rc::from(room);
        let room = Room::new(Rc::clone(&name), subscription);
        self.rooms.insert(Rc::clone(&name), room);
        cx.set(self.counts.rooms, self.rooms.len() as i64);
        self.followed.insert(subscription, Rc::clone(&name));
        Some(name)
    }

    /// Lets in whoever waits for what was said before, once that is there.
    pub(crate) fn enter_if_ready(&mut self, cx: &mut Context, name: &Rc<str>) {
        let Some(room) = self.rooms.get(name) else {
            return;
        };
        for seat in room.members.clone() {
            self.enter(cx, seat, name);
        }
    }

    /// The same for one of them.
    pub(crate) fn enter(&mut self, cx: &mut Context, seat: u32, name: &Rc<str>) {
        let Some(room) = self.rooms.get(name).filter(|room| room.is_caught_up) else {
            return;
        };
        let Some(member) = self.members.get_mut(seat as usize).and_then(Option::as_mut) else {
            return;
        };
        let is_it = |it: &Stay| it.waits && it.room == *name;
        let Some(at) = member.stays.iter().position(is_it) else {
            return;
        };
        let stay = &mut member.stays[at];
        if stay.carried && room.lacks(stay.seen, self.choices.history) {
            return self.fill_gap(cx, seat, name);
        }
        stay.waits = false;
        if stay.carried {
            member.lags |= !room.catch_up(cx, self.counts, member, at);
            return;
        }
        stay.seen = room.last;
        let history = room.history(member.form, self.choices.history, HISTORY_BYTES_MAX);
        if !history.is_empty() {
            telling::write(cx, member, &history);
            let (kind, text) = ("end", "end of history --");
            telling::show(cx, member, Notice::Told { kind, text });
        }
        let rules = self.rules.of_room(name);
        // Its own coming may not have gone round yet.
        let count = self.presence.count_with(&member.folded(), name);
        let mut text = format!("you are in #{name} ({count} here)");
        if !rules.topic.is_empty() {
            text += &format!("; topic: {}", rules.topic);
        }
        let (kind, text) = ("room", text.as_str());
        telling::show(cx, member, Notice::Told { kind, text });
        cx.add(self.counts.joins, 1);
        self.free_to_talk(cx, seat);
    }

    /// Who is there, or that this cannot be known for now. Before that, what a member asks for would be
    /// answered as if nobody were.
    pub(crate) fn knows_who_is_there(&self) -> bool {
        self.is_present || self.is_alone
    }

    /// It is known who is there, or that this cannot be known for now: who was carried here goes on.
    pub(crate) fn let_carried_go_on(&mut self, cx: &mut Context) {
        for seat in self.seats() {
            let is_held = |it: &mut Member| it.stage == Stage::Entering && !it.is_coming();
            if self.member(seat).is_some_and(is_held) {
                self.free_to_talk(cx, seat);
            }
        }
    }

    /// What it waited for is there.
    pub(crate) fn free_to_talk(&mut self, cx: &mut Context, seat: u32) {
        if let Some(member) = self.member(seat)
            && matches!(
                member.stage,
                Stage::Entering | Stage::Claiming | Stage::Stranded
            )
        {
            member.stage = Stage::Talking;
            self.go_on(cx, seat);
        }
    }

    pub(crate) fn part(&mut self, cx: &mut Context, seat: u32, room: &str) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let Some(at) = member.stay(room) else {
            let text = format!("you are not in #{room}");
            return self.tell(cx, seat, "error", &text);
        };
        let stay = member.stays.remove(at);
        if at < member.current || member.current >= member.stays.len() {
            member.current = member.current.saturating_sub(1);
        }
        let now = member.room().map_or_else(
            || "you are in no room now".to_owned(),
            |room| format!("you are in #{room} now"),
        );
        self.unfollow(cx, seat, &stay.room);
        self.announce_self(cx, seat);
        self.tell(cx, seat, "reply", &now);
    }

    pub(crate) fn leave_rooms(&mut self, cx: &mut Context, seat: u32) {
        let Some(member) = self.member(seat) else {
            return;
        };
        for stay in std::mem::take(&mut member.stays) {
            self.unfollow(cx, seat, &stay.room);
        }
    }

    fn unfollow(&mut self, cx: &mut Context, seat: u32, name: &Rc<str>) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        room.members.retain(|it| *it != seat);
        if room.members.is_empty()
            && let Some(room) = self.rooms.remove(name)
        {
            self.followed.remove(&room.subscription);
            let _ = cx.unsubscribe(room.subscription);
            cx.set(self.counts.rooms, self.rooms.len() as i64);
        }
    }

    /// A member that has come from another worker.
    pub(crate) fn settle(&mut self, cx: &mut Context, seat: u32, wants: Option<String>) {
        let idle = self.choices.idle;
        let knows_who_is_there = self.knows_who_is_there();
        let Some(member) = self.member(seat) else {
            return;
        };
        let session = member.session;
        let _ = cx.idle(session, idle);
        let rooms: Vec<Rc<str>> = member.stays.iter().map(|it| Rc::clone(&it.room)).collect();
        if member.stage == Stage::Left {
            member.stays.clear();
            let _ = cx.close(session, "has left");
            return;
        }
        if member.is_named() {
            let folded = member.folded();
            self.nicks.insert(folded, seat);
            cx.set(self.counts.members, self.nicks.len() as i64);
        }
        for (at, room) in rooms.into_iter().enumerate() {
            let followed = self.follow(cx, &room);
            let Some(member) = self.member(seat) else {
                return;
            };
            // The room's own name, by which its stays are found; one that cannot be followed now is
            // shown when it can.
            let name = followed.unwrap_or(room);
            member.stays[at].room = Rc::clone(&name);
            if let Some(room) = self.rooms.get_mut(&name) {
                room.members.push(seat);
            }
        }
        let folded = self.member(seat).map(|member| member.folded());
        if self.is_banned(cx, seat, &folded.unwrap_or_default()) {
            return;
        }
        self.announce_self(cx, seat);
        match (wants, self.member(seat)) {
            (Some(nick), _) => return self.claim(cx, seat, &nick, None),
            // What it has ordered comes first.
            (None, Some(member)) if member.stage == Stage::Ordering => {}
            (None, Some(member))
                if member.is_coming() || (!knows_who_is_there && member.is_named()) =>
            {
                member.stage = Stage::Entering;
                let _ = cx.pause(session);
            }
            (None, Some(member)) if !member.is_named() => {
                let until_ms = crate::now_ms(cx)
                    + u64::try_from(self.choices.login.as_millis()).unwrap_or(u64::MAX);
                self.logins.push_back((until_ms, seat, session));
                self.keep_ticking(cx);
            }
            _ => {}
        }
        let names: Vec<Rc<str>> = self
            .member(seat)
            .map(|member| member.stays.iter().map(|it| Rc::clone(&it.room)).collect())
            .unwrap_or_default();
        for name in names {
            self.enter(cx, seat, &name);
        }
        self.go_on(cx, seat);
    }

    /// Says a line in a room that the member is in.
    pub(crate) fn say(
        &mut self,
        cx: &mut Context,
        seat: u32,
        kind: Kind,
        text: &str,
        room: Option<String>,
    ) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let at = match room {
            Some(room) => names::room(&room).ok().and_then(|room| member.stay(&room)),
            None => Some(member.current),
        };
        let stay = at.and_then(|at| member.stays.get(at));
        let Some(name) = stay.map(|stay| Rc::clone(&stay.room)) else {
            return self.tell(
                cx,
                seat,
                "error",
                "you are in no such room; /join one first",
            );
        };
        let said = Said::new(kind, member.id.text(), &member.nick, text);
        let session = member.session;
        if self.rules.muted(said.nick(), said.from()) {
            cx.add(self.counts.messages_refused, 1);
            return self.tell(cx, seat, "error", UNHEARD);
        }
        let (number, id) = self.waiting.next();
        match cx.publish(&topic(&name), &id, said.encoded()) {
            Ok(publish) => {
                if self.is_alone {
                    self.waiting.show(number);
                    self.tell_alone(cx, &name, said.clone());
                }
                let line = Some((name, said));
                let session = Some(session);
                self.waiting.add(
                    publish,
                    Pending {
                        session,
                        seat,
                        line,
                        number,
                        said_ms: crate::now_ms(cx),
                        order: None,
                    },
                );
            }
            Err(_) => {
                cx.add(self.counts.messages_refused, 1);
                self.tell(
                    cx,
                    seat,
                    "error",
                    "not sent: too many lines wait for the link",
                );
            }
        }
    }

    fn tell_alone(&mut self, cx: &mut Context, name: &str, said: Said) {
        if let Some(room) = self.rooms.get(name) {
            let entry = Entry::new(room.last, unix_ms(), said);
            room.tell(cx, &mut self.members, &entry, false);
        }
    }

    /// The bus is away for longer: what waits for it is shown here at least.
    pub(crate) fn go_alone(&mut self, cx: &mut Context) {
        if std::mem::replace(&mut self.is_alone, true) {
            return;
        }
        cx.set(self.counts.links_lost, 1);
        self.tell_all(cx, "link", "link lost, local only");
        self.let_carried_go_on(cx);
        for seat in self.seats() {
            self.order_is_over(cx, seat);
            self.strand(cx, seat);
        }
        for (room, said) in self.waiting.show_all() {
            self.tell_alone(cx, &room, said);
        }
    }

    /// A line of a room has come.
    pub(crate) fn heard(&mut self, cx: &mut Context, name: &Rc<str>, message: Message<'_>) {
        let was_shown = self.waiting.was_shown(message.id);
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        let Some(said) = Said::decode(message.bytes) else {
            return;
        };
        let entry = Entry::new(message.sequence, message.time_ms, said);
        room.keep(entry, self.choices.history);
        if !room.is_caught_up {
            return;
        }
        if was_shown {
            for seat in &room.members {
                let member = self
                    .members
                    .get_mut(*seat as usize)
                    .and_then(Option::as_mut);
                let Some(member) = member.filter(|member| !member.lags) else {
                    continue;
                };
                for stay in member.stays.iter_mut().filter(|it| it.room == *name) {
                    stay.seen = message.sequence;
                }
            }
        } else {
            room.tell_last(cx, &mut self.members);
        }
    }

    /// Who has come, gone, or is called otherwise.
    pub(crate) fn tell_change(&mut self, cx: &mut Context, change: &Change) {
        match change {
            Change::Joined { nick, room, count } => {
                let count = *count;
                self.tell_room(cx, &[room], nick, Notice::Joined { nick, room, count });
            }
            Change::Left { nick, room, why } => {
                self.tell_room(cx, &[room], nick, Notice::Left { nick, room, why });
            }
            Change::Renamed { from, to, rooms } => {
                let (old, new) = (names::fold(from), names::fold(to));
                for member in self.members.iter_mut().flatten() {
                    for ignored in &mut member.ignored {
                        if **ignored == *old {
                            *ignored = new.as_str().into();
                        }
                    }
                }
                let rooms: Vec<&String> = rooms.iter().collect();
                self.tell_room(cx, &rooms, to, Notice::Renamed { from, to });
            }
        }
    }

    /// To each member of one of the rooms, once, but to whom it is about.
    pub(crate) fn tell_room(
        &mut self,
        cx: &mut Context,
        rooms: &[&String],
        about: &str,
        notice: Notice<'_>,
    ) {
        let about = names::fold(about);
        let is_presence = matches!(
            notice,
            Notice::Joined { .. } | Notice::Left { .. } | Notice::Renamed { .. }
        );
        let mut told = Vec::new();
        for name in rooms {
            let Some(room) = self.rooms.get(name.as_str()) else {
                continue;
            };
            if is_presence && self.presence.count(name) > self.choices.quiet_above {
                continue;
            }
            for seat in &room.members {
                let member = self
                    .members
                    .get_mut(*seat as usize)
                    .and_then(Option::as_mut);
                let Some(member) = member else {
                    continue;
                };
                let own = names::fold(&member.nick);
                let is_self = own == about && is_presence;
                let hidden = is_self || (is_presence && member.quiet) || member.ignores(&about);
                if !hidden && !told.contains(seat) {
                    let notice = match notice {
                        Notice::Joined { nick, room, .. } => {
                            let count = self.presence.count_with(&own, room);
                            Notice::Joined { nick, room, count }
                        }
                        other => other,
                    };
                    telling::show(cx, member, notice);
                    if rooms.len() > 1 {
                        told.push(*seat);
                    }
                }
            }
        }
    }
}

/// The topic of a room.
pub(crate) fn topic(room: &str) -> String {
    ["room.", room].concat()
}
