//! Whoever waits for a nick while the bus is away: told so, and free to leave.
//!
//! Nobody can say then whether the nick is free, and what is typed behind it may be meant for either
//! outcome. Invariant: a stranded member has asked for a nick, and has it, or not, once the link is back.

use polyport_plugin::prelude::*;

use crate::command::{self, Command};
use crate::member::Stage;
use crate::{Chat, json};

/// What somebody is told who asks for what all servers have to know of.
pub(crate) const OUT_OF_REACH: &str = "the other servers cannot be reached";

impl Chat {
    /// What it waits for cannot come: it is told, and may leave.
    pub(crate) fn strand(&mut self, cx: &mut Context, seat: u32) {
        if let Some(member) = self.member(seat)
            && member.stage == Stage::Claiming
        {
            member.stage = Stage::Stranded;
            self.tell(cx, seat, "link", &format!("{OUT_OF_REACH}; waiting"));
            self.go_on(cx, seat);
        }
    }

    /// A line of somebody who waits for the link.
    pub(crate) fn stranded(&mut self, cx: &mut Context, seat: u32, line: &str) {
        let command = match json::parse(line) {
            Some(Ok((command, _))) => Ok(command),
            _ => command::parse(line, self.choices.talker_keys),
        };
        match command {
            Ok(Command::Quit(why)) => self.leave(cx, seat, &why),
            _ => self.tell(
                cx,
                seat,
                "error",
                &format!("{OUT_OF_REACH}; only /quit is possible"),
            ),
        }
    }

    /// The link is back: they wait for the bus alone.
    pub(crate) fn strand_no_more(&mut self) {
        for member in self.members.iter_mut().flatten() {
            if member.stage == Stage::Stranded {
                member.stage = Stage::Claiming;
            }
        }
    }
}
