//! What each operator of the chat has decided, and what rooms are about: the same in every worker, because all of
//! them read the same orders from one topic.
//!
//! Nobody is sent away here; that is done where the sessions are. Invariant: what is decided depends
//! on the orders and the time only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{names, sanitise, unix_ms};

/// The topic of orders.
pub(crate) const TOPIC: &str = "orders";
/// Orders that a new worker reads, and so all that are remembered.
pub(crate) const ORDERS_MAX: u64 = 10_000;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Kick {
        nick: String,
        by: String,
        why: String,
    },
    Ban {
        whom: String,
        until_ms: u64,
        by: String,
        why: String,
    },
    Unban {
        whom: String,
    },
    Mute {
        nick: String,
        until_ms: u64,
        /// The session that has the nick, which stays muted whatever it is called; empty if nobody has.
        id: String,
    },
    Unmute {
        nick: String,
    },
    Lock {
        room: String,
        key: String,
    },
    Unlock {
        room: String,
    },
    Limit {
        room: String,
        count: usize,
    },
    Topic {
        room: String,
        nick: String,
        text: String,
    },
    Announce {
        by: String,
        text: String,
    },
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Order::Kick { nick, by, why } => format!("kick\t{nick}\t{by}\t{why}"),
            Order::Ban {
                whom,
                until_ms,
                by,
                why,
            } => {
                format!("ban\t{whom}\t{until_ms}\t{by}\t{why}")
            }
            Order::Unban { whom } => format!("unban\t{whom}"),
            Order::Mute { nick, until_ms, id } => format!("mute\t{nick}\t{until_ms}\t{id}"),
            Order::Unmute { nick } => format!("unmute\t{nick}"),
            Order::Lock { room, key } => format!("lock\t{room}\t{key}"),
            Order::Unlock { room } => format!("unlock\t{room}"),
            Order::Limit { room, count } => format!("limit\t{room}\t{count}"),
            Order::Topic { room, nick, text } => format!("topic\t{room}\t{nick}\t{text}"),
            Order::Announce { by, text } => format!("announce\t{by}\t{text}"),
        }
        .into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Order> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields: Vec<String> = text.split('\t').map(sanitise::clean).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let own = |text: &str| text.to_owned();
        Some(match fields[..] {
            ["kick", nick, by, why] => Order::Kick {
                nick: own(nick),
                by: own(by),
                why: own(why),
            },
            ["ban", whom, until, by, why] => Order::Ban {
                whom: own(whom),
                until_ms: until.parse().ok()?,
                by: own(by),
                why: own(why),
            },
            ["unban", whom] => Order::Unban { whom: own(whom) },
            ["mute", nick, until, id] => Order::Mute {
                nick: own(nick),
                until_ms: until.parse().ok()?,
                id: own(id),
            },
            ["unmute", nick] => Order::Unmute { nick: own(nick) },
            ["lock", room, key] => Order::Lock {
                room: names::room(room).ok()?,
                key: own(key),
            },
            ["unlock", room] => Order::Unlock {
                room: names::room(room).ok()?,
            },
            ["limit", room, count] => Order::Limit {
                room: names::room(room).ok()?,
                count: count.parse().ok()?,
            },
            ["topic", room, nick, text] => Order::Topic {
                room: names::room(room).ok()?,
                nick: own(nick),
                text: own(text),
            },
            ["announce", by, text] => Order::Announce {
                by: own(by),
                text: own(text),
            },
            _ => return None,
        })
    }
}

/// Somebody may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) until_ms: u64,
    pub(crate) by: String,
    pub(crate) why: String,
}

/// Somebody may listen only.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mute {
    until_ms: u64,
    id: String,
}

/// Of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomRules {
    /// Its key; an empty one is nobody's.
    pub(crate) lock: Option<String>,
    /// People that it holds; 0 is any number.
    pub(crate) limit: usize,
    pub(crate) topic: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    bans: BTreeMap<String, Ban>,
    mutes: BTreeMap<String, Mute>,
    rooms: BTreeMap<String, RoomRules>,
}

impl Rules {
    pub(crate) fn apply(&mut self, order: &Order) {
        match order {
            Order::Kick { .. } | Order::Announce { .. } => {}
            Order::Ban {
                whom,
                until_ms,
                by,
                why,
            } => {
                let ban = Ban {
                    until_ms: *until_ms,
                    by: by.clone(),
                    why: why.clone(),
                };
                self.bans.insert(whom.clone(), ban);
            }
            Order::Unban { whom } => {
                self.bans.remove(whom);
            }
            Order::Mute { nick, until_ms, id } => {
                let (until_ms, id) = (*until_ms, id.clone());
                self.mutes.insert(nick.clone(), Mute { until_ms, id });
            }
            Order::Unmute { nick } => {
                if let Some(mute) = self.mutes.remove(nick) {
                    self.mutes
                        .retain(|_, it| it.id.is_empty() || it.id != mute.id);
                }
            }
            Order::Lock { room, key } => self.room(room).lock = Some(key.clone()),
            Order::Unlock { room } => self.room(room).lock = None,
            Order::Limit { room, count } => self.room(room).limit = *count,
            Order::Topic { room, text, .. } => self.room(room).topic.clone_from(text),
        }
        self.rooms.retain(|_, rules| *rules != RoomRules::default());
    }

    fn room(&mut self, room: &str) -> &mut RoomRules {
        self.rooms.entry(room.to_owned()).or_default()
    }

    pub(crate) fn of_room(&self, room: &str) -> RoomRules {
        self.rooms.get(room).cloned().unwrap_or_default()
    }

    /// The ban that somebody is under; the nick is folded, and may be empty.
    pub(crate) fn banned(&self, nick: &str, address: Option<IpAddr>, now_ms: u64) -> Option<&Ban> {
        let hits = |whom: &str| {
            whom == nick
                || address
                    .is_some_and(|address| network(whom).is_some_and(|it| it.contains(&address)))
        };
        self.bans()
            .find(|(whom, ban)| ban.until_ms > now_ms && hits(whom))
            .map(|(_, ban)| ban)
    }

    /// Whether whoever is called that, or has that session, may not be heard.
    pub(crate) fn muted(&self, nick: &str, id: &str) -> bool {
        // Nearly always nobody is, and then neither the time nor the folded nick is needed.
        !self.mutes.is_empty() && {
            let until_ms = self.mute_of(nick, id).map(|(_, until_ms)| until_ms);
            until_ms.is_some_and(|until_ms| until_ms > unix_ms())
        }
    }

    /// As what somebody is muted, and how long: as he is called, or as his session was.
    pub(crate) fn mute_of(&self, nick: &str, id: &str) -> Option<(&str, u64)> {
        let as_called = self.mutes.get_key_value(&names::fold(nick));
        let is_it = |(_, mute): &(&String, &Mute)| !id.is_empty() && mute.id == id;
        let found = as_called.or_else(|| self.mutes.iter().find(is_it))?;
        Some((found.0, found.1.until_ms))
    }

    pub(crate) fn bans(&self) -> impl Iterator<Item = (&str, &Ban)> {
        self.bans.iter().map(|(whom, ban)| (whom.as_str(), ban))
    }

    pub(crate) fn mutes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.mutes
            .iter()
            .map(|(nick, mute)| (nick.as_str(), mute.until_ms))
    }

    /// Forgets what is over.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.bans.retain(|_, ban| ban.until_ms > now_ms);
        self.mutes.retain(|_, mute| mute.until_ms > now_ms);
    }
}

/// The network that a ban names, if it is none of a nick.
pub(crate) fn network(whom: &str) -> Option<IpNet> {
    let address = || whom.parse::<IpAddr>().ok().map(IpNet::from);
    whom.parse().ok().or_else(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(whom: &str, until_ms: u64) -> Order {
        Order::Ban {
            whom: whom.to_owned(),
            until_ms,
            by: "op".to_owned(),
            why: "rude".to_owned(),
        }
    }

    #[test]
    fn bans_hit_nicks_addresses_and_networks_until_they_are_over() {
        let mut rules = Rules::default();
        for order in [
            ban("eve", 100),
            ban("10.0.0.0/8", 100),
            ban("2001:db8::1", 100),
        ] {
            rules.apply(&order);
        }
        let is_banned = |rules: &Rules, nick: &str, address: &str, now_ms| {
            rules.banned(nick, address.parse().ok(), now_ms).is_some()
        };
        for (nick, address, banned) in [
            ("eve", "192.0.2.1", true),
            ("bob", "10.9.9.9", true),
            ("bob", "2001:db8::1", true),
            ("bob", "2001:db8::2", false),
            ("bob", "", false),
            ("eve", "", true),
        ] {
            assert_eq!(
                is_banned(&rules, nick, address, 99),
                banned,
                "{nick} {address}"
            );
            assert!(!is_banned(&rules, nick, address, 100), "it is over");
        }
        rules.apply(&Order::Unban {
            whom: "eve".to_owned(),
        });
        assert!(!is_banned(&rules, "eve", "", 0));
        rules.expire(100);
        assert_eq!(rules.bans().count(), 0);
    }

    #[test]
    fn orders_survive_the_way_and_nonsense_is_none() {
        let own = |text: &str| text.to_owned();
        let (room, nick) = (own("lobby"), own("bob"));
        for order in [
            ban("eve", 7),
            Order::Kick {
                nick: nick.clone(),
                by: own("op"),
                why: own("a b"),
            },
            Order::Unban { whom: own("::1") },
            Order::Mute {
                nick: nick.clone(),
                until_ms: 9,
                id: own("a1"),
            },
            Order::Unmute { nick: nick.clone() },
            Order::Lock {
                room: room.clone(),
                key: String::new(),
            },
            Order::Unlock { room: room.clone() },
            Order::Limit {
                room: room.clone(),
                count: 3,
            },
            Order::Topic {
                room,
                nick,
                text: own("tea, cake"),
            },
            Order::Announce {
                by: own("op"),
                text: own("soon"),
            },
        ] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        for bytes in [
            &b""[..],
            b"dance",
            b"lock\tNo Room\t",
            b"mute\tbob\tsoon",
            b"\xFF",
            b"kick\tbob",
        ] {
            assert_eq!(Order::decode(bytes), None);
        }
    }
}
