//! The summary: what happened since the last one, in one line. Datagrams are never logged one by
//! one, since anybody can send many of them.
//!
//! Invariant: what came in is what went out and what was dropped for a reason, together.

use std::fmt::{self, Write};

use crate::rates::Prefix;
use crate::rules::Reason;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) came: u64,
    pub(crate) answered: u64,
    dropped: [u64; Reason::NAMES.len()],
}

impl Summary {
    pub(crate) fn drop_for(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.came == 0
    }

    /// `top` is who sent most, and how many.
    pub(crate) fn line(&self, top: Option<(Prefix, u64)>) -> String {
        let mut line = String::new();
        self.write(top, &mut line)
            .expect("a String takes everything");
        line
    }

    fn write(&self, top: Option<(Prefix, u64)>, line: &mut String) -> fmt::Result {
        let dropped: u64 = self.dropped.iter().sum();
        write!(
            line,
            "{} in, {} out, {dropped} dropped",
            self.came, self.answered
        )?;
        let reasons = Reason::NAMES.iter().zip(&self.dropped);
        let mut opening = " (";
        for (name, count) in reasons.filter(|(_, count)| **count > 0) {
            write!(line, "{opening}{name} {count}")?;
            opening = ", ";
        }
        if opening == ", " {
            line.push(')');
        }
        if let Some((prefix, count)) = top {
            write!(line, "; most of them, {count}, from {prefix}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_came_what_left_and_why_the_rest_did_not() {
        let mut summary = Summary {
            came: 10,
            answered: 10,
            ..Summary::default()
        };
        assert_eq!(summary.line(None), "10 in, 10 out, 0 dropped");
        summary.came = 13;
        summary.drop_for(Reason::LowPort);
        summary.drop_for(Reason::Full);
        summary.drop_for(Reason::Full);
        let top = Some((Prefix::V4([192, 0, 2, 1].into()), 12));
        assert_eq!(
            summary.line(top),
            "13 in, 10 out, 3 dropped (port below 1024 1, batch full 2); \
             most of them, 12, from 192.0.2.1"
        );
    }
}
