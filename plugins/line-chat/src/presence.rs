//! Who is there, in all workers: the values of the leases of nicks, and what a change of one means.
//!
//! Nobody says that he comes or goes: it follows from the leases, which end with the worker that held
//! them, so a worker that dies takes its people along. Values are kept as they came, for there may be
//! many.
//!
//! A session that is called otherwise claims its new nick, says under the old one how it is called now, and
//! gives that up. The bus brings changes of one nick in order, and may pass over all but the last, so
//! either can be heard of first; whichever it is, the other means nothing more.
//!
//! Invariant: the count of a room is that of the people whose value names it; a session has one nick.

use std::collections::{BTreeMap, HashMap};

use crate::{names, sanitise};

/// The lease of a nick is called that, and the folded nick.
pub(crate) const PREFIX: &str = "nick.";

/// What everybody may know of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    /// The session.
    pub(crate) id: String,
    /// The worker it is in.
    pub(crate) node: String,
    pub(crate) nick: String,
    /// The folded nick it had before this one.
    pub(crate) was: String,
    pub(crate) since_ms: u64,
    pub(crate) address: String,
    pub(crate) operator: bool,
    pub(crate) rooms: Vec<String>,
    /// Why it leaves, when it does.
    pub(crate) why: String,
    pub(crate) away: String,
}

impl Person {
    pub(crate) fn encode(&self) -> String {
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            self.id,
            self.node,
            self.nick,
            self.was,
            self.since_ms,
            self.address,
            if self.operator { "o" } else { "" },
            self.rooms.join(","),
            self.why,
            self.away
        )
    }

    /// The rooms of a value that was decoded before, and made sense.
    fn rooms_of(bytes: &[u8]) -> impl Iterator<Item = &str> {
        let field = bytes
            .split(|byte| *byte == b'\t')
            .nth(7)
            .unwrap_or_default();
        std::str::from_utf8(field).unwrap_or_default().split(',')
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Person> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields: Vec<String> = text.split('\t').map(sanitise::clean).collect();
        let [id, node, nick, was, since, address, flags, rooms, why, away] =
            <[String; 10]>::try_from(fields).ok()?;
        Some(Person {
            id,
            node,
            nick,
            was,
            since_ms: since.parse().ok()?,
            address,
            operator: flags == "o",
            rooms: rooms
                .split(',')
                .filter_map(|room| names::room(room).ok())
                .collect(),
            why,
            away,
        })
    }
}

/// What a changed lease means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Joined {
        nick: String,
        room: String,
        count: usize,
    },
    Left {
        nick: String,
        room: String,
        why: String,
    },
    Renamed {
        from: String,
        to: String,
        rooms: Vec<String>,
    },
}

/// Everybody.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    people: BTreeMap<Box<str>, Box<[u8]>>,
    /// The nick of each session, by its name as a number.
    nicks: HashMap<u64, Box<str>>,
    counts: HashMap<String, usize>,
}

impl Presence {
    /// The lease of this folded nick has changed.
    pub(crate) fn seen(&mut self, folded: &str, held: Option<&[u8]>) -> Vec<Change> {
        let new = held.and_then(Person::decode);
        if let Some(new) = &new
            && names::fold(&new.nick) != folded
        {
            return self.moved(folded, new);
        }
        let mut old = self.take(folded);
        let mut changes = Vec::new();
        if let Some(new) = &new {
            let before = number(&new.id).and_then(|id| self.nicks.get(&id).cloned());
            if let Some(was) = before.and_then(|before| self.take(&before)) {
                changes.push(Change::Renamed {
                    from: was.nick.clone(),
                    to: new.nick.clone(),
                    rooms: was.rooms.clone(),
                });
                old = Some(was);
            }
            self.put(folded, new, held.unwrap_or_default());
        }
        let old_rooms = old.as_ref().map_or(&[][..], |old| &old.rooms);
        let new_rooms = new.as_ref().map_or(&[][..], |new| &new.rooms);
        for room in old_rooms.iter().filter(|room| !new_rooms.contains(room)) {
            changes.push(Change::Left {
                nick: old
                    .as_ref()
                    .map_or_else(String::new, |old| old.nick.clone()),
                room: room.clone(),
                why: new
                    .as_ref()
                    .map_or_else(|| "node lost".to_owned(), |new| new.why.clone()),
            });
        }
        for room in new_rooms.iter().filter(|room| !old_rooms.contains(room)) {
            changes.push(Change::Joined {
                nick: new
                    .as_ref()
                    .map_or_else(String::new, |new| new.nick.clone()),
                room: room.clone(),
                count: self.count(room),
            });
        }
        changes
    }

    /// Whoever had this nick says that it is called otherwise now.
    fn moved(&mut self, folded: &str, new: &Person) -> Vec<Change> {
        let is_his = |was: &Person| was.id == new.id;
        if !self.named(folded).is_some_and(|was| is_his(&was)) {
            return Vec::new();
        }
        let Some(was) = self.take(folded) else {
            return Vec::new();
        };
        let to = names::fold(&new.nick);
        if self.people.contains_key(&*to) {
            // Of somebody who has gone, which will be heard; or it is there already.
            return Vec::new();
        }
        let change = Change::Renamed {
            from: was.nick.clone(),
            to: new.nick.clone(),
            rooms: was.rooms.clone(),
        };
        let person = Person {
            nick: new.nick.clone(),
            ..was
        };
        self.put(&to, &person, person.encode().as_bytes());
        vec![change]
    }

    pub(crate) fn named(&self, folded: &str) -> Option<Person> {
        self.people
            .get(folded)
            .and_then(|value| Person::decode(value))
    }

    /// Who has that session; of two nicks while he changes his, this one.
    pub(crate) fn with_id(&self, folded: &str, id: &str) -> Option<Person> {
        let is_it = |value: &&[u8]| {
            value
                .strip_prefix(id.as_bytes())
                .is_some_and(|it| it.starts_with(b"\t"))
        };
        let called = |nick: &str| self.people.get(nick).map(|value| &**value).filter(is_it);
        let found = called(folded).or_else(|| called(self.nicks.get(&number(id)?)?))?;
        Person::decode(found)
    }

    /// Everybody, by nick.
    pub(crate) fn people(&self) -> impl Iterator<Item = Person> + '_ {
        self.people
            .values()
            .filter_map(|value| Person::decode(value))
    }

    pub(crate) fn count(&self, room: &str) -> usize {
        self.counts.get(room).copied().unwrap_or(0)
    }

    /// The same for one of them, whose own coming may not have gone round yet.
    pub(crate) fn count_with(&self, folded: &str, room: &str) -> usize {
        let own = self.people.get(folded).map(|value| &**value);
        let is_counted = own.is_some_and(|own| Person::rooms_of(own).any(|it| it == room));
        self.count(room) + usize::from(!is_counted)
    }

    /// Rooms that somebody is in, by name.
    pub(crate) fn rooms(&self) -> BTreeMap<&str, usize> {
        self.counts
            .iter()
            .map(|(room, count)| (room.as_str(), *count))
            .collect()
    }

    fn put(&mut self, folded: &str, person: &Person, value: &[u8]) {
        self.people.insert(folded.into(), value.into());
        if let Some(id) = number(&person.id) {
            self.nicks.insert(id, folded.into());
        }
        for room in &person.rooms {
            *self.counts.entry(room.clone()).or_default() += 1;
        }
    }

    fn take(&mut self, folded: &str) -> Option<Person> {
        let person = Person::decode(&self.people.remove(folded)?)?;
        if let Some(id) = number(&person.id)
            && self.nicks.get(&id).is_some_and(|nick| **nick == *folded)
        {
            self.nicks.remove(&id);
        }
        for room in &person.rooms {
            if let Some(count) = self.counts.get_mut(room) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(room);
                }
            }
        }
        Some(person)
    }
}

/// What a session is found by.
fn number(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(nick: &str, rooms: &[&str]) -> Person {
        Person {
            id: "1".to_owned(),
            nick: nick.to_owned(),
            rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
            ..Person::default()
        }
    }

    fn told(presence: &mut Presence, key: &str, person: Option<&Person>) -> String {
        let value = person.map(Person::encode);
        let changes = presence.seen(key, value.as_deref().map(str::as_bytes));
        let tell = |change: &Change| match change {
            Change::Joined { nick, room, count } => format!("{nick}+{room}={count}"),
            Change::Left { nick, room, why } => format!("{nick}-{room}:{why}"),
            Change::Renamed { from, to, rooms } => format!("{from}>{to} in {}", rooms.join(",")),
        };
        changes.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn people_come_and_go_once() {
        let mut presence = Presence::default();
        let bob = person("Bob", &["lobby"]);
        assert_eq!(told(&mut presence, "bob", Some(&bob)), "Bob+lobby=1");
        assert_eq!(
            told(&mut presence, "bob", Some(&bob)),
            "",
            "told again by a new hub"
        );
        let both = person("Bob", &["lobby", "den"]);
        assert_eq!(told(&mut presence, "bob", Some(&both)), "Bob+den=1");
        let mut eve = person("eve", &["lobby"]);
        eve.id = "2".to_owned();
        assert_eq!(told(&mut presence, "eve", Some(&eve)), "eve+lobby=2");
        let mut rob = person("rob", &["lobby", "den"]);
        rob.was = "bob".to_owned();
        assert_eq!(
            told(&mut presence, "rob", Some(&rob)),
            "Bob>rob in lobby,den"
        );
        assert_eq!(told(&mut presence, "bob", None), "");
        assert_eq!(presence.count("lobby"), 2);
        let mut other = person("bob", &["lobby"]);
        other.id = "3".to_owned();
        assert_eq!(told(&mut presence, "bob", Some(&other)), "bob+lobby=3");
        assert_eq!(
            told(&mut presence, "rob", Some(&rob)),
            "",
            "bob is another by now"
        );
        let mut leaving = person("rob", &[]);
        leaving.why = "bye".to_owned();
        assert_eq!(
            told(&mut presence, "rob", Some(&leaving)),
            "rob-lobby:bye rob-den:bye"
        );
        assert_eq!(told(&mut presence, "rob", None), "");
        assert_eq!(told(&mut presence, "eve", None), "eve-lobby:node lost");
        assert_eq!(
            presence.rooms().into_iter().collect::<Vec<_>>(),
            [("lobby", 1)]
        );
    }

    #[test]
    fn of_a_new_nick_either_half_may_be_heard_first_or_not_at_all() {
        let bob = person("Bob", &["lobby"]);
        let rob = person("rob", &["lobby"]);
        let more = person("rob", &["lobby", "den"]);
        let (new, old, gone) = (("rob", Some(&rob)), ("bob", Some(&rob)), ("bob", None));
        let den = ("rob", Some(&more));
        let rows = [
            (vec![new, old, gone], "Bob>rob in lobby"),
            (vec![old, gone, new], "Bob>rob in lobby"),
            (vec![old, new, gone, den], "Bob>rob in lobby;rob+den=1"),
            (vec![old, gone, den], "Bob>rob in lobby;rob+den=1"),
            (vec![den, old, gone], "Bob>rob in lobby rob+den=1"),
        ];
        for (heard, shown) in rows {
            let mut presence = Presence::default();
            told(&mut presence, "bob", Some(&bob));
            let lines = heard
                .iter()
                .map(|(key, person)| told(&mut presence, key, *person));
            let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
            assert_eq!(lines.join(";"), shown, "{heard:?}");
            let there: Vec<String> = presence.people().map(|it| it.nick).collect();
            assert_eq!(
                (there, presence.count("lobby")),
                (vec!["rob".to_owned()], 1)
            );
        }
        // Who has not seen the one before sees nothing of his.
        let mut presence = Presence::default();
        assert_eq!(told(&mut presence, "bob", Some(&rob)), "");
        assert_eq!(presence.people().count(), 0);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_nobody() {
        for value in [&b""[..], b"a\tb", b"\xFF", b"1\tn\tbob\t\tx\ta\t\t\t\t"] {
            assert_eq!(Person::decode(value), None);
        }
        let full = Person {
            was: "b".to_owned(),
            since_ms: 7,
            address: "127.0.0.1".to_owned(),
            operator: true,
            away: "tea".to_owned(),
            ..person("bob", &["lobby"])
        };
        assert_eq!(Person::decode(full.encode().as_bytes()), Some(full));
    }
}
