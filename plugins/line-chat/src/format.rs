//! What is shown, in the form that a session wants: for people, or as one JSON object a line.
//!
//! Nothing here knows who is shown it, so a line is made once for all who want the same form.
//! Invariant: one notice is one line, and ends with CR LF.

use serde_json::json;

use crate::clock;
use crate::message::Kind;

/// How somebody wants time shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Times {
    #[default]
    Off,
    Minutes,
    Iso,
    /// Of what was said on another day; nobody chooses it.
    Day,
}

/// The form of a session's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) json: bool,
    pub(crate) times: Times,
    pub(crate) color: bool,
}

impl Form {
    /// How what was said at that time is shown later.
    pub(crate) fn of_history(self, time_ms: u64, now_ms: u64) -> Form {
        let is_today = clock::day(time_ms) == clock::day(now_ms);
        let times = match self.times {
            Times::Iso => Times::Iso,
            _ if is_today => Times::Minutes,
            _ => Times::Day,
        };
        Form { times, ..self }
    }

    /// Which of the forms of a room's line it is, with the room's name or without.
    pub(crate) fn number(self, with_room: bool) -> usize {
        ((usize::from(self.json) * 2 + usize::from(self.color)) * 2 + usize::from(with_room)) * 3
            + self.times as usize
    }
}

/// One thing to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice<'a> {
    /// A line of a room.
    Said {
        kind: Kind,
        room: &'a str,
        sequence: u64,
        nick: &'a str,
        text: &'a str,
        /// It was said before whoever is shown it came, or asked for it.
        old: bool,
    },
    /// A private line that has come.
    Private {
        from: &'a str,
        text: &'a str,
    },
    /// A private line that was sent.
    Sent {
        to: &'a str,
        text: &'a str,
    },
    Joined {
        nick: &'a str,
        room: &'a str,
        count: usize,
    },
    Left {
        nick: &'a str,
        room: &'a str,
        why: &'a str,
    },
    Renamed {
        from: &'a str,
        to: &'a str,
    },
    Topic {
        nick: &'a str,
        room: &'a str,
        text: &'a str,
    },
    /// Whatever the server says, of a kind that programs can tell apart.
    Told {
        kind: &'a str,
        text: &'a str,
    },
}

/// The line; `with_room` when it is not of the room that the session is in.
pub(crate) fn line(notice: Notice<'_>, form: Form, with_room: bool, time_ms: u64) -> String {
    if form.json {
        return object(notice, time_ms);
    }
    let mut line = match form.times {
        Times::Off => String::new(),
        Times::Minutes => clock::hour_minute(time_ms) + " ",
        Times::Iso => clock::iso(time_ms) + " ",
        Times::Day => clock::day(time_ms) + " " + &clock::hour_minute(time_ms) + " ",
    };
    if let Notice::Said { room, .. } = notice
        && with_room
    {
        push(&mut line, &["#", room, " "]);
    }
    match notice {
        // Made for each line of a room, and so without the detours of the others.
        Notice::Said {
            kind, nick, text, ..
        } if !form.color => {
            let (before, behind) = match kind {
                Kind::Text => ("<", "> "),
                Kind::Action => ("* ", " "),
            };
            push(&mut line, &[before, nick, behind, text, "\r\n"]);
        }
        _ => push(&mut line, &[&plain(notice, form.color), "\r\n"]),
    }
    line
}

fn push(line: &mut String, pieces: &[&str]) {
    line.reserve(pieces.iter().map(|piece| piece.len()).sum());
    pieces.iter().for_each(|piece| line.push_str(piece));
}

fn plain(notice: Notice<'_>, color: bool) -> String {
    let nick = |nick: &str, code: u8| {
        if color {
            format!("\u{1B}[{code}m{nick}\u{1B}[0m")
        } else {
            nick.to_owned()
        }
    };
    let quiet = |text: String| {
        if color {
            format!("\u{1B}[2m{text}\u{1B}[0m")
        } else {
            text
        }
    };
    match notice {
        Notice::Said {
            kind: Kind::Text,
            nick: by,
            text,
            ..
        } => {
            format!("<{}> {text}", nick(by, 36))
        }
        Notice::Said {
            kind: Kind::Action,
            nick: by,
            text,
            ..
        } => {
            format!("* {} {text}", nick(by, 36))
        }
        Notice::Private { from, text } => format!("*{}* {text}", nick(from, 35)),
        Notice::Sent { to, text } => format!("-> {}: {text}", nick(to, 35)),
        Notice::Joined { nick, room, count } => {
            quiet(format!("-- {nick} joined #{room} ({count} here)"))
        }
        Notice::Left {
            nick,
            room,
            why: "",
        } => quiet(format!("-- {nick} left #{room}")),
        Notice::Left { nick, room, why } => quiet(format!("-- {nick} left #{room} ({why})")),
        Notice::Renamed { from, to } => quiet(format!("-- {from} is now {to}")),
        Notice::Topic {
            nick,
            room,
            text: "",
        } => quiet(format!("-- {nick} cleared the topic of #{room}")),
        Notice::Topic { nick, room, text } => {
            quiet(format!("-- {nick} set the topic of #{room}: {text}"))
        }
        Notice::Told {
            kind: "reply" | "motd",
            text,
        } => text.to_owned(),
        Notice::Told { text, .. } => quiet(format!("-- {text}")),
    }
}

fn object(notice: Notice<'_>, time_ms: u64) -> String {
    let time = clock::iso(time_ms);
    let object = match notice {
        Notice::Said {
            kind,
            room,
            sequence,
            nick,
            text,
            old,
        } => {
            let kind = match kind {
                Kind::Text => "text",
                Kind::Action => "me",
            };
            let mut object = json!({"kind": kind, "room": room, "seq": sequence, "time": time, "nick": nick, "text": text});
            if old {
                object["old"] = true.into();
            }
            object
        }
        Notice::Private { from, text } => {
            json!({"kind": "msg", "time": time, "nick": from, "text": text})
        }
        Notice::Sent { to, text } => {
            json!({"kind": "sent", "time": time, "nick": to, "text": text})
        }
        Notice::Joined { nick, room, count } => {
            json!({"kind": "join", "room": room, "time": time, "nick": nick, "count": count})
        }
        Notice::Left { nick, room, why } => {
            json!({"kind": "leave", "room": room, "time": time, "nick": nick, "text": why})
        }
        Notice::Renamed { from, to } => {
            json!({"kind": "nick", "time": time, "nick": from, "text": to})
        }
        Notice::Topic { nick, room, text } => {
            json!({"kind": "topic", "room": room, "time": time, "nick": nick, "text": text})
        }
        Notice::Told { kind, text } => json!({"kind": kind, "time": time, "text": text}),
    };
    format!("{object}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: usize = 24;

    const SAID: Notice<'_> = Notice::Said {
        kind: Kind::Text,
        room: "lobby",
        sequence: 7,
        nick: "bob",
        text: "say \"hi\"",
        old: false,
    };

    #[test]
    fn people_read_the_documented_forms() {
        let waves = Notice::Said {
            kind: Kind::Action,
            room: "lobby",
            sequence: 8,
            nick: "bob",
            text: "waves",
            old: false,
        };
        for (notice, expected) in [
            (SAID, "<bob> say \"hi\""),
            (waves, "* bob waves"),
            (
                Notice::Private {
                    from: "bob",
                    text: "psst",
                },
                "*bob* psst",
            ),
            (
                Notice::Sent {
                    to: "bob",
                    text: "psst",
                },
                "-> bob: psst",
            ),
            (
                Notice::Joined {
                    nick: "bob",
                    room: "lobby",
                    count: 3,
                },
                "-- bob joined #lobby (3 here)",
            ),
            (
                Notice::Left {
                    nick: "bob",
                    room: "lobby",
                    why: "",
                },
                "-- bob left #lobby",
            ),
            (
                Notice::Left {
                    nick: "bob",
                    room: "lobby",
                    why: "node lost",
                },
                "-- bob left #lobby (node lost)",
            ),
            (
                Notice::Renamed {
                    from: "bob",
                    to: "rob",
                },
                "-- bob is now rob",
            ),
            (
                Notice::Topic {
                    nick: "bob",
                    room: "lobby",
                    text: "x",
                },
                "-- bob set the topic of #lobby: x",
            ),
            (
                Notice::Told {
                    kind: "notice",
                    text: "x",
                },
                "-- x",
            ),
            (
                Notice::Told {
                    kind: "reply",
                    text: "x",
                },
                "x",
            ),
        ] {
            let shown = line(notice, Form::default(), false, 0);
            assert_eq!(shown, format!("{expected}\r\n"));
            let bot = Form {
                json: true,
                ..Form::default()
            };
            let object = line(notice, bot, true, 0);
            let value: serde_json::Value = serde_json::from_str(&object).expect("it is JSON");
            assert!(value["kind"].is_string() && value["time"] == "1970-01-01T00:00:00Z");
        }
    }

    #[test]
    fn time_room_and_color_are_there_for_whoever_asks() {
        let form = |times, color| Form {
            json: false,
            times,
            color,
        };
        assert_eq!(
            line(SAID, form(Times::Minutes, false), true, 60_000),
            "00:01 #lobby <bob> say \"hi\"\r\n"
        );
        assert_eq!(
            line(SAID, form(Times::Iso, false), false, 0),
            "1970-01-01T00:00:00Z <bob> say \"hi\"\r\n"
        );
        assert_eq!(
            line(SAID, form(Times::Off, true), false, 0),
            "<\u{1B}[36mbob\u{1B}[0m> say \"hi\"\r\n"
        );
    }

    #[test]
    fn each_form_has_a_number_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for json in [false, true] {
            for color in [false, true] {
                for times in [Times::Off, Times::Minutes, Times::Iso] {
                    for with_room in [false, true] {
                        seen.insert(Form { json, times, color }.number(with_room));
                    }
                }
            }
        }
        assert_eq!(seen.len(), FORMS);
        assert_eq!(seen.last(), Some(&(FORMS - 1)));
    }
}
