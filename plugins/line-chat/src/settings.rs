//! What an administrator may set, as declared to the daemon, and as the rest of the plugin uses it.
//!
//! Invariant: a [`Choices`] is complete and makes sense; nothing behind it looks at a text of the
//! configuration again.

use std::time::Duration;

use polyport_plugin::{Opt, Settings};

use crate::names;
use crate::pace::Rate;
use crate::passwords::Passwords;
use crate::sanitise;

pub(crate) const OPTIONS: &[Opt] = &[
    Opt::list(c"motd", c"The message of the day, a line each.").default(c""),
    Opt::text(c"room", c"The room that everybody comes into.").default(c"lobby"),
    Opt::list(c"fixed_rooms", c"The only rooms there are, beside that one; none means that people make them.")
        .default(c""),
    Opt::integer(c"history", c"Lines of a room that whoever comes in is shown.")
        .default(c"50")
        .between(0, 1000),
    Opt::integer(c"nick_max", c"Characters of a nick.").default(c"16").between(3, 32),
    Opt::integer(c"line_max", c"Characters of a line; a longer one is not said.")
        .default(c"1024")
        .between(80, 4096),
    Opt::integer(c"burst", c"Lines that somebody may say at once.").default(c"20").between(1, 10_000),
    Opt::integer(c"rate", c"Lines a second after that; who is faster is read later.")
        .default(c"4")
        .between(1, 1_000_000),
    Opt::integer(c"joins_per_minute", c"Sessions a minute from one address or /64; 0 is any number.")
        .default(c"12")
        .between(0, 100_000),
    Opt::duration(c"login", c"How long somebody may take to find a nick.")
        .default(c"60s")
        .between(1000, 3_600_000),
    Opt::duration(c"idle", c"A session without a byte either way for so long is closed; 0s means never.")
        .default(c"0s"),
    Opt::integer(c"quiet_above", c"Who comes and goes is not shown in rooms with more people than that.")
        .default(c"100")
        .between(0, 1_000_000),
    Opt::boolean(c"talker_keys", c"Lines that begin with : or ' and the line .q are what they are in talkers.")
        .default(c"true"),
    Opt::list(c"op_passwords", c"Who knows one becomes an operator, from this machine only; each has 8 characters or more, or is a hash of argon2.")
        .default(c""),
    Opt::text(c"record", c"A folder where all that is said in rooms is written, a file for each room and day; empty for nowhere.")
        .default(c""),
];

/// What was chosen.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) motd: Vec<String>,
    pub(crate) room: String,
    pub(crate) fixed_rooms: Vec<String>,
    pub(crate) history: usize,
    pub(crate) nick_max: usize,
    pub(crate) line_max: usize,
    pub(crate) rate: Rate,
    pub(crate) joins_per_minute: u32,
    /// The administrator wrote it, so it holds for this machine as well.
    pub(crate) joins_written: bool,
    pub(crate) login: Duration,
    pub(crate) idle: Duration,
    pub(crate) quiet_above: usize,
    pub(crate) talker_keys: bool,
    pub(crate) op_passwords: Passwords,
    pub(crate) record: String,
}

impl Choices {
    pub(crate) fn of(settings: &Settings) -> Result<Choices, String> {
        let number = |name: &str| usize::try_from(settings.integer(name)).unwrap_or(0);
        let room = |name: &str| names::room(name).map_err(|why| format!("{name:?}: {why}"));
        let record = settings.text("record").to_owned();
        if !record.is_empty() && !record.starts_with('/') {
            return Err(format!(
                "record: {record:?} is no absolute path of a folder"
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
        let rate = Rate {
            burst: number("burst") as f32,
            per_s: number("rate") as f32,
        };
        Ok(Choices {
            motd: settings
                .list("motd")
                .iter()
                .map(|line| sanitise::clean(line))
                .collect(),
            room: room(settings.text("room")).map_err(|why| format!("room: {why}"))?,
            fixed_rooms: settings
                .list("fixed_rooms")
                .iter()
                .map(|name| room(name))
                .collect::<Result<_, _>>()
                .map_err(|why| format!("fixed_rooms: {why}"))?,
            history: number("history"),
            nick_max: number("nick_max"),
            line_max: number("line_max"),
            rate,
            joins_per_minute: u32::try_from(settings.integer("joins_per_minute")).unwrap_or(0),
            joins_written: settings.is_written("joins_per_minute"),
            login: settings.duration("login"),
            idle: settings.duration("idle"),
            quiet_above: number("quiet_above"),
            talker_keys: settings.boolean("talker_keys"),
            op_passwords: Passwords::of(settings.list("op_passwords"))?,
            record,
        })
    }

    /// Bytes of a line, as the characters may all have four.
    pub(crate) fn line_bytes_max(&self) -> usize {
        self.line_max * 4
    }
}
