//! What operators do. An order goes to the bus, and is obeyed when it comes from there: in every
//! worker, in the same order, in the one of the operator as well.

use polyport_plugin::bus::PublishId;
use polyport_plugin::prelude::*;

use crate::acting::cut;
use crate::command::Command;
use crate::format::Notice;
use crate::member::Stage;
use crate::rules::{self, Order};
use crate::stranded::OUT_OF_REACH;
use crate::waiting::{Ordered, Pending};
use crate::{Chat, clock, names, now_ms, unix_ms};

/// How long a ban or a mute lasts if nobody says, and at most: no longer than orders are kept.
const BAN_MS: u64 = 86_400_000;
const MUTE_MS: u64 = 600_000;
const LENGTH_MS_MAX: u64 = 30 * 86_400_000;
const TOO_MANY_WAIT: &str = "not sent: too many lines wait for the link";
/// Characters of a reason.
const WHY_CHARS_MAX: usize = 80;

impl Chat {
    pub(crate) fn operate(&mut self, cx: &mut Context, seat: u32, command: Command) {
        let Some(member) = self.member(seat) else {
            return;
        };
        if !member.operator {
            return self.tell(cx, seat, "error", "that is for operators");
        }
        let by = member.nick.to_string();
        match self.order(command, by) {
            Ok(Some(order)) => {
                let session = self.member(seat).map(|member| member.session);
                cx.log(
                    Level::Info,
                    session,
                    format_args!("an operator of the chat orders {order:?}"),
                );
                self.give(cx, seat, &order);
            }
            Ok(None) => self.list_bans(cx, seat),
            Err(why) => self.tell(cx, seat, "error", &why),
        }
    }

    /// The order; `None` if only to look.
    fn order(&self, command: Command, by: String) -> Result<Option<Order>, String> {
        let until_ms = |length: Option<String>, usual| {
            let length = length.and_then(|it| clock::length(&it)).unwrap_or(usual);
            unix_ms() + length.min(LENGTH_MS_MAX)
        };
        let there = |nick: &str| {
            let folded = names::fold(nick);
            let is_there = self.presence.named(&folded).is_some();
            if is_there {
                Ok(folded)
            } else {
                Err(format!("there is no {nick} here"))
            }
        };
        let nick_max = self.choices.nick_max;
        let id_of = |nick: &str| {
            let person = self.presence.named(&names::fold(nick));
            person.map(|person| person.id).unwrap_or_default()
        };
        let whom = |text: &str| match rules::network(text) {
            Some(network) => network.trunc().to_string(),
            None => names::fold(text),
        };
        // Digits and dots are meant for an address, unless somebody is called so.
        let can_be = |text: &str| {
            let is_dotted =
                text.contains('.') && text.bytes().all(|it| it == b'.' || it.is_ascii_digit());
            let is_nick = names::is_nick(text, nick_max) && (!is_dotted || !id_of(text).is_empty());
            is_nick || rules::network(text).is_some()
        };
        Ok(Some(match command {
            Command::Kick { nick, why } => Order::Kick {
                nick: there(&nick)?,
                by,
                why: cut(&why, WHY_CHARS_MAX),
            },
            Command::Ban { whom: who, .. } if !can_be(&who) => {
                return Err(format!("{who} is no nick, address or network"));
            }
            Command::Ban {
                whom: who,
                length,
                why,
            } => Order::Ban {
                whom: whom(&who),
                until_ms: until_ms(length, BAN_MS),
                by,
                why: cut(&why, WHY_CHARS_MAX),
            },
            Command::Unban(who) => Order::Unban { whom: whom(&who) },
            Command::Mute { nick, .. } if !names::is_nick(&nick, nick_max) => {
                return Err(format!("{nick} is no nick"));
            }
            Command::Mute { nick, length } => Order::Mute {
                nick: names::fold(&nick),
                until_ms: until_ms(length, MUTE_MS),
                id: id_of(&nick),
            },
            Command::Unmute(nick) => Order::Unmute {
                nick: match self.rules.mute_of(&nick, &id_of(&nick)) {
                    Some((as_what, _)) => as_what.to_owned(),
                    None => names::fold(&nick),
                },
            },
            Command::Lock { room, key } => Order::Lock {
                room: names::room(&room)?,
                key,
            },
            Command::Unlock(room) => Order::Unlock {
                room: names::room(&room)?,
            },
            Command::Limit { room, count } => Order::Limit {
                room: names::room(&room)?,
                count,
            },
            Command::Announce(text) => Order::Announce { by, text },
            _ => return Ok(None),
        }))
    }

    /// Sends an order to all workers.
    pub(crate) fn give(&mut self, cx: &mut Context, seat: u32, order: &Order) {
        let (number, id) = self.waiting.next();
        let (bytes, is_order) = (order.encode(), !matches!(order, Order::Topic { .. }));
        let Ok(publish) = cx.publish(rules::TOPIC, &id, &bytes) else {
            return self.tell(cx, seat, "error", TOO_MANY_WAIT);
        };
        // Without the link it is done once that is back, for which nobody is held.
        if is_order
            && !self.is_alone
            && let Some(member) = self.member(seat)
        {
            member.stage = Stage::Ordering;
        }
        let order = is_order.then_some(Ordered { id, bytes });
        self.wait_for(cx, seat, publish, number, order);
        if self.is_alone {
            self.tell(
                cx,
                seat,
                "link",
                &format!("{OUT_OF_REACH}; it is done once they can"),
            );
        }
    }

    /// What was ordered in another worker may be on its way round the bus still.
    pub(crate) fn give_again(&mut self, cx: &mut Context, seat: u32, order: Ordered) {
        match cx.publish(rules::TOPIC, &order.id, &order.bytes) {
            Ok(publish) => {
                let (number, _) = self.waiting.next();
                self.wait_for(cx, seat, publish, number, Some(order));
                if self.is_alone {
                    self.order_is_over(cx, seat);
                }
            }
            Err(_) => {
                self.tell(cx, seat, "error", TOO_MANY_WAIT);
                self.order_is_over(cx, seat);
            }
        }
    }

    fn wait_for(
        &mut self,
        cx: &mut Context,
        seat: u32,
        publish: PublishId,
        number: u64,
        order: Option<Ordered>,
    ) {
        let session = self.member(seat).map(|member| member.session);
        let said_ms = now_ms(cx);
        self.waiting.add(
            publish,
            Pending {
                session,
                seat,
                line: None,
                number,
                said_ms,
                order,
            },
        );
    }

    /// What an operator has ordered is done, or cannot be for now: what was said behind it is looked at.
    pub(crate) fn order_is_over(&mut self, cx: &mut Context, seat: u32) {
        let knows_who_is_there = self.knows_who_is_there();
        if let Some(member) = self.member(seat)
            && member.stage == Stage::Ordering
        {
            member.stage = match knows_who_is_there && !member.is_coming() {
                true => Stage::Talking,
                false => Stage::Entering,
            };
            self.go_on(cx, seat);
        }
    }

    fn list_bans(&mut self, cx: &mut Context, seat: u32) {
        let now_ms = unix_ms();
        self.rules.expire(now_ms);
        let left = |until_ms: u64| clock::left(until_ms.saturating_sub(now_ms));
        let mut rows: Vec<String> = self
            .rules
            .bans()
            .map(|(whom, ban)| {
                format!(
                    "{whom} is banned by {} for {}",
                    ban.by,
                    because(&left(ban.until_ms), &ban.why)
                )
            })
            .collect();
        rows.extend(
            self.rules
                .mutes()
                .map(|(nick, until_ms)| format!("{nick} is muted for {}", left(until_ms))),
        );
        if rows.is_empty() {
            rows.push("nobody is banned or muted".to_owned());
        }
        for row in rows {
            self.tell(cx, seat, "reply", &row);
        }
    }

    /// An order has come.
    pub(crate) fn obey(&mut self, cx: &mut Context, order: &Order) {
        match order {
            Order::Kick { nick, by, why } => {
                if let Some(&seat) = self.nicks.get(nick) {
                    self.send_away(cx, seat, &format!("kicked by {by}"), why);
                }
            }
            Order::Ban { .. } => self.send_banned_away(cx),
            Order::Mute { nick, until_ms, .. } => {
                if let Some(&seat) = self.nicks.get(nick) {
                    let left = clock::left(until_ms.saturating_sub(unix_ms()));
                    self.tell(cx, seat, "notice", &format!("you are muted for {left}"));
                }
            }
            Order::Unmute { nick } => {
                if let Some(&seat) = self.nicks.get(nick) {
                    self.tell(cx, seat, "notice", "you may speak again");
                }
            }
            Order::Topic { room, nick, text } => {
                self.tell_room(cx, &[room], nick, Notice::Topic { nick, room, text });
            }
            Order::Announce { by, text } => {
                self.tell_all(cx, "announce", &format!("{by} announces: {text}"));
            }
            Order::Unban { .. }
            | Order::Lock { .. }
            | Order::Unlock { .. }
            | Order::Limit { .. } => {}
        }
    }

    pub(crate) fn is_muted(&self, seat: u32) -> bool {
        let member = self.members.get(seat as usize).and_then(Option::as_ref);
        member.is_some_and(|member| self.rules.muted(&member.nick, member.id.text()))
    }

    /// Whoever is here and banned has to go.
    pub(crate) fn send_banned_away(&mut self, cx: &mut Context) {
        let now_ms = unix_ms();
        for seat in self.seats() {
            let Some(member) = self.members[seat as usize].as_ref() else {
                continue;
            };
            let ban = self.rules.banned(&member.folded(), member.ip(), now_ms);
            if let Some(ban) = ban.cloned().filter(|_| member.stage != Stage::Left) {
                self.send_away(cx, seat, &format!("banned by {}", ban.by), &ban.why);
            }
        }
    }

    fn send_away(&mut self, cx: &mut Context, seat: u32, what: &str, why: &str) {
        let reason = because(what, why);
        self.tell(cx, seat, "notice", &format!("you were {reason}"));
        self.leave(cx, seat, &reason);
    }
}

/// What happens, and why, if that was said.
pub(crate) fn because(what: &str, why: &str) -> String {
    match why {
        "" => what.to_owned(),
        why => format!("{what}: {why}"),
    }
}
