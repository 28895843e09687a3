//! What a line asks for. Only words: whether it may be done is decided where it is done.
//!
//! Invariant: a line that begins with `/` is never said to a room, unless it begins with two.

use crate::clock;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Say(String),
    Me(String),
    Nothing,
    Help(Option<String>),
    Quit(String),
    Who(Option<String>),
    Names,
    Rooms,
    Join {
        room: String,
        key: String,
    },
    Part(Option<String>),
    Topic(Option<String>),
    Nick(String),
    Msg {
        to: String,
        text: String,
    },
    Reply(String),
    Whois(String),
    Away(String),
    Back,
    Ignore(Option<String>),
    Unignore(String),
    Switch(Switch, Option<bool>),
    Time(String),
    Mode(String),
    History(Option<usize>),
    Motd,
    Uptime,
    Token,
    Resume(String),
    Op(String),
    Kick {
        nick: String,
        why: String,
    },
    Ban {
        whom: String,
        length: Option<String>,
        why: String,
    },
    Unban(String),
    Bans,
    Mute {
        nick: String,
        length: Option<String>,
    },
    Unmute(String),
    Lock {
        room: String,
        key: String,
    },
    Unlock(String),
    Limit {
        room: String,
        count: usize,
    },
    Announce(String),
}

/// What is on or off for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    Quiet,
    Echo,
    Color,
}

/// How each command is written, and what it does.
pub(crate) const HELP: &[(&str, &str)] = &[
    ("/help [COMMAND]", "this list, or one line of it"),
    ("/quit [WHY]", "leave; Ctrl-D does as well"),
    ("/who [#ROOM]", "who is here"),
    ("/names", "the nicks in this room"),
    ("/rooms", "all rooms, and how many are in each"),
    (
        "/join ROOM [KEY]",
        "go into a room, or back to it: what you say goes there",
    ),
    ("/part [ROOM]", "leave a room"),
    (
        "/topic [TEXT]",
        "show or set what this room is about; - clears it",
    ),
    ("/nick NAME", "be called otherwise"),
    ("/me TEXT", "do, rather than say; :TEXT is the same"),
    ("/msg NICK TEXT", "say it to one person only"),
    ("/reply TEXT", "the same to whoever wrote to you last"),
    ("/whois NICK", "who somebody is"),
    ("/away [TEXT]", "say that you are not there"),
    ("/back", "say that you are there again"),
    (
        "/ignore [NICK]",
        "hear nothing of somebody; without a nick, whom you ignore",
    ),
    ("/unignore NICK", "hear somebody again"),
    ("/quiet on|off", "do not show who comes and goes"),
    ("/time off|hm|iso", "show times, in UTC"),
    ("/color on|off", "show colors"),
    ("/echo on|off", "show your own lines as well"),
    ("/mode text|json", "lines for people, or for programs"),
    ("/history [COUNT]", "what was said in this room"),
    ("/motd", "the message of the day"),
    ("/uptime", "how long this has been running"),
    ("/token", "a token with which to come back under this nick"),
    ("/resume TOKEN", "come back with it, in place of a nick"),
    ("/op PASSWORD", "become an operator"),
];

/// The same for operators.
pub(crate) const OPERATORS_HELP: &[(&str, &str)] = &[
    ("/kick NICK [WHY]", "send somebody away"),
    (
        "/ban WHOM [1h] [WHY]",
        "keep a nick, address or network out",
    ),
    ("/unban WHOM", "let them in again"),
    ("/bans", "who is banned or muted"),
    ("/mute NICK [10m]", "let somebody listen only"),
    ("/unmute NICK", "let them speak again"),
    (
        "/lock ROOM [KEY]",
        "let nobody into a room, or only who has the key",
    ),
    ("/unlock ROOM", "let everybody in again"),
    (
        "/limit ROOM COUNT",
        "let no more into a room; 0 is any number",
    ),
    ("/announce TEXT", "tell everybody"),
];

/// Whether it is said as it stands, whatever is set: no command, key or object begins so.
pub(crate) fn is_plain(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// What the line asks for, or what to tell whoever wrote it. `talker_keys` are those of old talkers.
pub(crate) fn parse(line: &str, talker_keys: bool) -> Result<Command, String> {
    if line.trim().is_empty() {
        return Ok(Command::Nothing);
    }
    // A blank that slipped in before it makes no command public.
    let Some(command) = line.trim_start().strip_prefix('/') else {
        return Ok(match line.strip_prefix(':') {
            _ if !talker_keys => Command::Say(line.to_owned()),
            Some(text) if !text.trim().is_empty() && !text.starts_with([')', '(', '-']) => {
                Command::Me(text.trim().to_owned())
            }
            _ if line.trim() == ".q" => Command::Quit(String::new()),
            _ => match line.strip_prefix('\'') {
                Some(text) if !text.is_empty() => Command::Say(text.to_owned()),
                _ => Command::Say(line.to_owned()),
            },
        });
    };
    if command.starts_with('/') {
        return Ok(Command::Say(command.to_owned()));
    }
    let (name, rest) = first(command);
    named(in_full(&name.to_ascii_lowercase()), rest.trim())
}

/// Commands have shorter and other names.
fn in_full(name: &str) -> &str {
    match name {
        "h" | "?" => "help",
        "q" | "exit" | "bye" => "quit",
        "w" => "who",
        "list" => "rooms",
        "j" => "join",
        "leave" => "part",
        "m" | "tell" => "msg",
        "r" => "reply",
        "colour" => "color",
        _ => name,
    }
}

fn named(name: &str, rest: &str) -> Result<Command, String> {
    let usage = || usage(name);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let needed = || some(rest).ok_or_else(usage);
    let two = || {
        let (one, other) = first(rest);
        (one.to_owned(), other.trim().to_owned())
    };
    let on_off = |switch| match rest.to_ascii_lowercase().as_str() {
        "" => Ok(Command::Switch(switch, None)),
        "on" => Ok(Command::Switch(switch, Some(true))),
        "off" => Ok(Command::Switch(switch, Some(false))),
        _ => Err(usage()),
    };
    Ok(match name {
        "help" => Command::Help(some(rest)),
        "quit" => Command::Quit(rest.to_owned()),
        "who" => Command::Who(some(rest)),
        "names" => Command::Names,
        "rooms" => Command::Rooms,
        "join" => {
            let (room, key) = two();
            Command::Join {
                room: some(&room).ok_or_else(usage)?,
                key,
            }
        }
        "part" => Command::Part(some(rest)),
        "topic" => Command::Topic(some(rest)),
        "nick" => Command::Nick(needed()?),
        "me" => Command::Me(needed()?),
        "say" => Command::Say(needed()?),
        "msg" => {
            let (to, text) = two();
            Command::Msg {
                to,
                text: some(&text).ok_or_else(usage)?,
            }
        }
        "reply" => Command::Reply(needed()?),
        "whois" => Command::Whois(needed()?),
        "away" => Command::Away(rest.to_owned()),
        "back" => Command::Back,
        "ignore" => Command::Ignore(some(rest)),
        "unignore" => Command::Unignore(needed()?),
        "quiet" => on_off(Switch::Quiet)?,
        "echo" => on_off(Switch::Echo)?,
        "color" => on_off(Switch::Color)?,
        "time" => Command::Time(needed()?),
        "mode" => Command::Mode(needed()?),
        "history" if rest.is_empty() => Command::History(None),
        "history" => Command::History(Some(rest.parse().map_err(|_| usage())?)),
        "motd" => Command::Motd,
        "uptime" => Command::Uptime,
        "token" => Command::Token,
        "resume" => Command::Resume(needed()?),
        "op" => Command::Op(needed()?),
        "kick" => {
            let (nick, why) = two();
            Command::Kick {
                nick: some(&nick).ok_or_else(usage)?,
                why,
            }
        }
        "ban" => {
            let (whom, rest) = two();
            let (length, why) = match first(&rest) {
                (length, why) if clock::length(length).is_some() => (some(length), why.trim()),
                (other, _) if is_number(other) => {
                    return Err(format!(
                        "{other} is no length of time, as 30s, 10m, 1h, 7d and 1w are; no reason begins so"
                    ));
                }
                _ => (None, rest.as_str()),
            };
            Command::Ban {
                whom: some(&whom).ok_or_else(usage)?,
                length,
                why: why.to_owned(),
            }
        }
        "unban" => Command::Unban(needed()?),
        "bans" => Command::Bans,
        "mute" => {
            let (nick, length) = two();
            if !length.is_empty() && clock::length(&length).is_none() {
                return Err(usage());
            }
            Command::Mute {
                nick: some(&nick).ok_or_else(usage)?,
                length: some(&length),
            }
        }
        "unmute" => Command::Unmute(needed()?),
        "lock" => {
            let (room, key) = two();
            Command::Lock {
                room: some(&room).ok_or_else(usage)?,
                key,
            }
        }
        "unlock" => Command::Unlock(needed()?),
        "limit" => {
            let (room, count) = two();
            Command::Limit {
                room,
                count: count.parse().map_err(|_| usage())?,
            }
        }
        "announce" => Command::Announce(needed()?),
        _ => {
            return Err(format!(
                "there is no /{name}; /help lists what there is, and // says a line that begins with /"
            ));
        }
    })
}

/// The line of help for a command.
pub(crate) fn usage(name: &str) -> String {
    let name = name.trim_start_matches('/').to_ascii_lowercase();
    let name = in_full(&name);
    let is_it = |row: &&(&str, &str)| row.0[1..].split(' ').next() == Some(name);
    match HELP.iter().chain(OPERATORS_HELP).find(is_it) {
        Some((usage, what)) => format!("{usage}: {what}"),
        None => format!("there is no /{name}; /help lists what there is"),
    }
}

/// Whether somebody who writes that means a number.
fn is_number(text: &str) -> bool {
    let behind_sign = text.strip_prefix(['-', '+']).unwrap_or(text);
    behind_sign.starts_with(|it: char| it.is_ascii_digit())
}

fn first(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_or_ask() {
        use Command::*;
        let say = |text: &str| Say(text.to_owned());
        #[rustfmt::skip]
        let rows = [
            ("hi", say("hi")), ("", Nothing), ("  ", Nothing), ("//who", say("/who")), ("///", say("//")),
            (":waves", Me("waves".into())), (":-)", say(":-)")), (":)", say(":)")), (":", say(":")),
            ("'quoted", say("quoted")), (".q", Quit(String::new())), (".quiet", say(".quiet")),
            ("/ME waves", Me("waves".into())), ("/say /x", say("/x")),
            ("/msg bob psst now", Msg { to: "bob".into(), text: "psst now".into() }),
            ("/join lobby", Join { room: "lobby".into(), key: String::new() }),
            ("/join lobby key", Join { room: "lobby".into(), key: "key".into() }),
            ("/quiet", Switch(super::Switch::Quiet, None)), ("/echo on", Switch(super::Switch::Echo, Some(true))),
            ("/history 42", History(Some(42))), ("/history", History(None)),
            ("/ban bob 1h rude", Ban { whom: "bob".into(), length: Some("1h".into()), why: "rude".into() }),
            ("/ban 10.0.0.0/8 very rude", Ban { whom: "10.0.0.0/8".into(), length: None, why: "very rude".into() }),
            ("/mute bob", Mute { nick: "bob".into(), length: None }),
            ("/limit lobby 5", Limit { room: "lobby".into(), count: 5 }),
            ("/q bye now", Quit("bye now".into())),
        ];
        for (line, expected) in rows {
            let is_said = expected == say(line);
            assert!(is_said || !is_plain(line), "{line}");
            assert_eq!(parse(line, true), Ok(expected), "{line}");
        }
        assert_eq!(parse(":waves", false), Ok(say(":waves")));
        assert_eq!(parse(".q", false), Ok(say(".q")));
    }

    #[test]
    fn what_is_no_command_is_answered_with_what_is() {
        for (line, hint) in [
            ("/frobnicate", "there is no /frobnicate"),
            ("/", "there is no /;"),
            ("/join", "/join ROOM"),
            ("/msg bob", "/msg NICK"),
            ("/echo maybe", "/echo on|off"),
            ("/history x", "/history [COUNT]"),
            ("/mute bob soon", "/mute NICK"),
            ("/limit lobby", "/limit ROOM"),
            ("/nick", "/nick NAME"),
        ] {
            let said = parse(line, true).expect_err(line);
            assert!(said.contains(hint), "{line}: {said}");
        }
    }

    #[test]
    fn each_line_of_help_is_a_command() {
        for (row, _) in HELP.iter().chain(OPERATORS_HELP) {
            let name = row[1..].split(' ').next().unwrap_or_default();
            let answer = named(name, "x 1");
            let unknown = answer.is_err_and(|said| said.starts_with("there is no"));
            assert!(!unknown, "{row}");
        }
    }
}
