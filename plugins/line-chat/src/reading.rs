//! What comes from a peer, byte by byte, up to the line that is acted upon.
//!
//! A member that waits for something, or has said more than it may, is not read: what has come already
//! is left to the daemon, which feeds it again. Invariant: no line is looked at before what the one
//! before it asked for is done.

use polyport_plugin::prelude::*;

use crate::line::{Half, Line};
use crate::member::Stage;
use crate::message::Kind;
use crate::telnet::Heard;
use crate::{Chat, command, is_away, json, now_ms, sanitise};

impl Chat {
    /// Bytes that are done with.
    pub(crate) fn read(&mut self, cx: &mut Context, seat: u32, input: &[u8]) -> usize {
        let Some(member) = self.member(seat) else {
            return input.len();
        };
        member.exported = false;
        let done = match member.is_held() {
            true => 0,
            false => self.read_lines(cx, seat, input),
        };
        match self.member(seat) {
            Some(member) if member.stage == Stage::Left => input.len(),
            Some(member) if member.is_held() => {
                let _ = cx.pause(member.session);
                done
            }
            _ => done,
        }
    }

    /// What the member has waited for is there: it is read again.
    pub(crate) fn go_on(&mut self, cx: &mut Context, seat: u32) {
        let (rate, now_ms) = (self.choices.rate, now_ms(cx));
        let Some(member) = self.member(seat).filter(|member| !member.is_held()) else {
            return;
        };
        let session = member.session;
        if is_away(cx, session) {
            // It goes on where it comes to, or here once it is writable.
        } else if member.stage == Stage::Talking && !member.pace.allows(rate, now_ms) {
            self.slow_down(cx, seat);
        } else if member.finished {
            self.read_end(cx, seat);
        } else {
            let _ = cx.resume(session);
        }
    }

    /// The peer has finished: what is half a line is one.
    pub(crate) fn read_end(&mut self, cx: &mut Context, seat: u32) {
        let Some(member) = self.member(seat) else {
            return;
        };
        member.finished = true;
        if member.is_held() {
            return;
        }
        if let Some(line) = member.half.finish() {
            self.take(cx, seat, line);
        }
        if self.member(seat).is_some_and(|member| !member.is_held()) {
            self.leave(cx, seat, "");
        }
    }

    /// Bytes that are done with; all, unless the member is held.
    fn read_lines(&mut self, cx: &mut Context, seat: u32, input: &[u8]) -> usize {
        let bytes_max = self.choices.line_bytes_max();
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            let Some(member) = self.member(seat) else {
                return input.len();
            };
            let half = &mut member.half;
            // Nearly all of what people say goes this way, a line at once.
            if member.telnet.is_in_text() {
                let plain = Half::plain(&input[at..]);
                if let Some((line, bytes)) = half.whole(&input[at..], plain, bytes_max) {
                    half.after_return = false;
                    at += bytes;
                    self.take(cx, seat, line);
                    if self.member(seat).is_none_or(|member| member.is_held()) {
                        return at;
                    }
                    continue;
                }
                if plain > 0 {
                    half.run(&input[at..at + plain], bytes_max);
                    at += plain;
                    continue;
                }
            }
            at += 1;
            let line = match member.telnet.byte(*byte) {
                Heard::Nothing => None,
                Heard::Text(byte) => half.byte(byte, bytes_max),
                Heard::Both(first, second) => {
                    let line = half.byte(first, bytes_max);
                    debug_assert!(line.is_none(), "255 ends no line");
                    half.byte(second, bytes_max)
                }
                Heard::Answer(answer) => {
                    let _ = cx.write(member.session, &answer);
                    None
                }
                Heard::AreYouThere => {
                    match member.form.json {
                        true => self.tell(cx, seat, "notice", "yes"),
                        false => drop(cx.write(member.session, b"[yes]\r\n")),
                    }
                    None
                }
                Heard::Interrupt | Heard::EraseLine => {
                    half.erase();
                    None
                }
                Heard::EraseCharacter => {
                    half.erase_character();
                    None
                }
            };
            if let Some(line) = line {
                self.take(cx, seat, line);
                if self.member(seat).is_none_or(|member| member.is_held()) {
                    return at;
                }
            }
        }
        input.len()
    }

    fn take(&mut self, cx: &mut Context, seat: u32, line: Line<'_>) {
        let (line_max, rate, now_ms) = (self.choices.line_max, self.choices.rate, now_ms(cx));
        let Some(member) = self.member(seat) else {
            return;
        };
        let may_go_on = member.pace.spend(rate, now_ms);
        match line {
            Line::End => self.leave(cx, seat, ""),
            Line::TooLong => self.too_long(cx, seat),
            Line::Whole(bytes) => {
                let (text, latin1) = sanitise::line(&bytes);
                if latin1 && !std::mem::replace(&mut member.latin1, true) {
                    let text = "your text is not UTF-8; it is read as Latin-1";
                    self.tell(cx, seat, "notice", text);
                }
                if text.len() > line_max && text.chars().count() > line_max {
                    self.too_long(cx, seat);
                } else {
                    self.act_on(cx, seat, &text);
                }
            }
        }
        if !may_go_on
            && self
                .member(seat)
                .is_some_and(|it| it.stage == Stage::Talking)
        {
            self.slow_down(cx, seat);
        }
    }

    /// It has said all that it may for now.
    fn slow_down(&mut self, cx: &mut Context, seat: u32) {
        if let Some(member) = self.member(seat) {
            let session = member.session;
            member.stage = Stage::Slow;
            cx.add(self.counts.slowed, 1);
            let _ = cx.pause(session);
            self.slow.push((seat, session));
            self.keep_ticking(cx);
        }
    }

    fn too_long(&mut self, cx: &mut Context, seat: u32) {
        let text = format!(
            "that line is longer than {} characters, and was not said",
            self.choices.line_max
        );
        cx.add(self.counts.messages_refused, 1);
        self.tell(cx, seat, "error", &text);
    }

    fn act_on(&mut self, cx: &mut Context, seat: u32, text: &str) {
        if self
            .member(seat)
            .is_some_and(|member| member.stage == Stage::Stranded)
        {
            return self.stranded(cx, seat, text);
        }
        if self.member(seat).is_some_and(|member| !member.is_named()) {
            return self.greeted(cx, seat, text);
        }
        if command::is_plain(text) {
            return self.say(cx, seat, Kind::Text, text, None);
        }
        let talker_keys = self.choices.talker_keys;
        let parsed = match json::parse(text) {
            Some(parsed) if self.member(seat).is_some_and(|member| member.form.json) => parsed,
            _ => command::parse(text, talker_keys).map(|command| (command, None)),
        };
        match parsed {
            Ok((command, room)) => self.act(cx, seat, command, room),
            Err(why) => self.tell(cx, seat, "error", &why),
        }
    }

    /// Whether a slow speaker may speak again.
    pub(crate) fn let_speak(&mut self, cx: &mut Context, seat: u32, now_ms: u64) {
        let rate = self.choices.rate;
        let Some(member) = self.member(seat) else {
            return;
        };
        if member.stage != Stage::Slow {
            return;
        }
        if member.pace.allows(rate, now_ms) {
            member.stage = Stage::Talking;
            self.go_on(cx, seat);
        } else {
            let session = member.session;
            self.slow.push((seat, session));
        }
    }
}
