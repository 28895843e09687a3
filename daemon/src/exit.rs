//! Exit codes: fixed, documented in the README and the manual, never reused for something else.
//!
//! Invariant: the table and the constants are one text.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: u8 = $code;)+

        /// Every code, with what it means.
        pub const MEANINGS: &[(u8, &str)] = &[$(($code, $meaning)),+];
    };
}

codes! {
    DONE = 0, "It is done.";
    FAILED = 1, "It failed; standard error says why.";
    USAGE = 2, "The command line makes no sense.";
    NOT_RUNNING = 3, "No daemon answers.";
    NOT_PERMITTED = 4, "The caller may not do this.";
    REJECTED = 5, "The configuration, or a plugin in it, is rejected; nothing has changed.";
    TIMED_OUT = 6, "No answer in time; the outcome is not known.";
    DEGRADED = 7, "It runs, but not all of it.";
    INTERNAL = 70, "`run`: an internal error.";
    SYSTEM = 71, "`run`: the operating system refuses (an address in use, no permission); trying again may help.";
    CONFIG = 78, "`run`: bad configuration; trying again does not help.";
}
