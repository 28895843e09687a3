//! What the bus brings, handed to whom it is for.

use std::rc::Rc;

use polyport_plugin::bus::{Event, Message};
use polyport_plugin::prelude::*;

use crate::format::Notice;
use crate::mail::NODES;
use crate::presence::PREFIX;
use crate::room::Entry;
use crate::rules::Order;
use crate::waiting::Pending;
use crate::{Chat, message, now_ms, telling, unix_ms};

impl Chat {
    pub(crate) fn hear(&mut self, cx: &mut Context, event: Event<'_>) {
        match event {
            Event::Link { up: true } => {
                self.away_since_ms = None;
                self.mail.wait_anew(now_ms(cx));
                if std::mem::take(&mut self.is_alone) {
                    cx.set(self.counts.links_lost, 0);
                    self.tell_all(cx, "link", "the link is back");
                    self.strand_no_more();
                }
            }
            Event::Link { up: false } => {
                self.away_since_ms = Some(now_ms(cx));
                self.mail.follow_no_more();
            }
            Event::Message {
                subscription,
                message,
            } => {
                if subscription == self.orders {
                    self.ordered(cx, message);
                } else if let Some(name) = self.followed.get(&subscription).map(Rc::clone) {
                    self.heard(cx, &name, message);
                } else if let Some(look) = self.looks.get(&subscription).cloned() {
                    match look.fills {
                        true => self.filled(cx, subscription, &look, message),
                        false => self.looked(cx, look.session, &look.room, message),
                    }
                }
            }
            Event::Missed {
                subscription,
                from,
                to,
            } => self.missed(cx, subscription, from, to),
            Event::CaughtUp {
                subscription,
                sequence,
            } => {
                self.caught_up(cx, subscription, sequence);
            }
            Event::Published { publish, result } => {
                let pending = self.waiting.published(publish);
                if let (Ok(_), Some((room, said))) =
                    (&result, pending.as_ref().and_then(|it| it.line.as_ref()))
                {
                    self.record.note(cx, room, said);
                }
                if let Some(Pending {
                    line: Some(_),
                    said_ms,
                    ..
                }) = &pending
                {
                    let outcome = match result {
                        Ok(_) => self.counts.messages,
                        Err(_) => self.counts.messages_refused,
                    };
                    cx.add(outcome, 1);
                    cx.record(self.counts.bus_ms, now_ms(cx).saturating_sub(*said_ms));
                }
                if let Some(pending) = pending
                    && let Some(session) = pending.session
                    && let Some(seat) = self.seat_of(pending.seat, session)
                {
                    if result.is_err() {
                        self.tell(cx, seat, "error", "not sent: there are too many rooms");
                    } else if pending.order.is_some() {
                        // It has been obeyed here, and whoever comes anywhere finds it.
                        self.tell(cx, seat, "reply", "done");
                    }
                    if pending.order.is_some() {
                        self.order_is_over(cx, seat);
                    }
                }
            }
            Event::Lease {
                claim,
                key,
                lease,
                value,
            } => {
                use polyport_plugin::bus::Lease;
                if claim == self.arrival {
                    self.is_present |= lease == Lease::Won;
                    self.let_carried_go_on(cx);
                    self.try_letters(cx);
                } else if let Some(fate) =
                    self.mail
                        .leased(cx, (claim, key), (lease, value), now_ms(cx))
                {
                    self.posted(cx, fate);
                } else {
                    self.leased(cx, claim, lease, value);
                }
            }
            Event::Seen { watch, key, held } => {
                if watch == self.people {
                    self.seen(cx, key, held);
                } else if watch == self.mail.nodes {
                    if let Some(node) = key.strip_prefix(NODES) {
                        self.node_seen(cx, node, held.is_some());
                    }
                } else if watch != self.mail.inbox {
                    self.mail.seen_elsewhere(key, held);
                } else if let Some(value) = held {
                    self.mail_came(cx, key, value);
                }
            }
        }
    }

    fn seen(&mut self, cx: &mut Context, key: &str, held: Option<&[u8]>) {
        let Some(folded) = key.strip_prefix(PREFIX) else {
            return;
        };
        let changes = self.presence.seen(folded, held);
        self.try_letters_to(cx, folded, held);
        // Before that they have not come, they were there.
        if self.is_present {
            for change in &changes {
                self.tell_change(cx, change);
            }
        }
    }

    fn ordered(&mut self, cx: &mut Context, message: Message<'_>) {
        let Some(order) = Order::decode(message.bytes) else {
            return;
        };
        self.rules.apply(&order);
        if self.is_ruled {
            self.obey(cx, &order);
        }
    }

    fn caught_up(&mut self, cx: &mut Context, subscription: SubscriptionId, sequence: u64) {
        if subscription == self.orders {
            self.rules.expire(unix_ms());
            if !std::mem::replace(&mut self.is_ruled, true) {
                self.send_banned_away(cx);
            }
        } else if let Some(name) = self.followed.get(&subscription).map(Rc::clone) {
            if let Some(room) = self.rooms.get_mut(&name) {
                room.is_caught_up = true;
                room.last = room.last.max(sequence);
            }
            self.enter_if_ready(cx, &name);
        } else if let Some(look) = self.looks.remove(&subscription) {
            if look.fills {
                return self.gap_is_filled(cx, &look, sequence);
            }
            let session = look.session;
            for member in self.members.iter_mut().flatten() {
                if member.session == session {
                    telling::show(
                        cx,
                        member,
                        Notice::Told {
                            kind: "end",
                            text: "end of history --",
                        },
                    );
                }
            }
        }
    }

    fn missed(&mut self, cx: &mut Context, subscription: SubscriptionId, from: u64, to: u64) {
        if let Some(look) = self
            .looks
            .get(&subscription)
            .filter(|look| look.fills)
            .cloned()
        {
            return self.not_filled(cx, &look, from, to);
        }
        let Some(name) = self.followed.get(&subscription).map(Rc::clone) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(&name) else {
            return;
        };
        room.lines.clear();
        room.last = room.last.max(to);
        let members = room.members.clone();
        let text = format!(
            "{} lines of #{name} were lost on the way",
            to.saturating_sub(from) + 1
        );
        let count = to.saturating_sub(from).saturating_add(1);
        cx.add(
            self.counts.lines_skipped,
            count.saturating_mul(members.len() as u64),
        );
        for seat in members {
            self.tell(cx, seat, "skipped", &text);
        }
    }

    /// A line of history that somebody has asked for.
    fn looked(&mut self, cx: &mut Context, session: SessionId, name: &str, message: Message<'_>) {
        let Some(said) = message::Said::decode(message.bytes) else {
            return;
        };
        let entry = Entry::new(message.sequence, message.time_ms, said);
        let member = self
            .members
            .iter_mut()
            .flatten()
            .find(|it| it.session == session);
        if let Some(member) = member
            && !entry.is_ignored_by(member)
        {
            let line = entry.shown_later(name, member.form, unix_ms());
            telling::write(cx, member, &line);
        }
    }
}
