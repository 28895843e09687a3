//! The modes, and their names in the configuration.

use std::ffi::CStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Every byte, at once.
    Stream,
    /// Every line, when it is complete.
    Line,
    /// The first read, then the end.
    Once,
    /// The peer's address, then the length of its line, then the end.
    Who,
    /// Nothing at all.
    Discard,
    /// Lines of characters without end.
    Chargen,
    /// The day and the time in words, then the end.
    Daytime,
    /// Seconds since 1900 in four bytes, then the end.
    Time,
    /// One quote, then the end.
    Qotd,
}

impl Mode {
    /// For the declaration of the option.
    pub(crate) const NAMES: &CStr = c"stream|line|once|who|discard|chargen|daytime|time|qotd";

    /// As carried sessions have it.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn named(name: &str) -> Mode {
        match name {
            "stream" => Mode::Stream,
            "line" => Mode::Line,
            "once" => Mode::Once,
            "who" => Mode::Who,
            "discard" => Mode::Discard,
            "chargen" => Mode::Chargen,
            "daytime" => Mode::Daytime,
            "time" => Mode::Time,
            "qotd" => Mode::Qotd,
            _ => unreachable!("the daemon lets only {:?} through", Mode::NAMES),
        }
    }
}
