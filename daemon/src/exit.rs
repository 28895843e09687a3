//! Exit codes: fixed, documented in the README, never reused for something else.

/// It is done.
pub const DONE: u8 = 0;
/// It failed; standard error says why.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// No daemon answers.
pub const NOT_RUNNING: u8 = 3;
/// The caller may not do this.
pub const NOT_PERMITTED: u8 = 4;
/// The configuration, or a plugin in it, is rejected; nothing has changed.
pub const REJECTED: u8 = 5;
/// No answer in time; the outcome is not known.
pub const TIMED_OUT: u8 = 6;
/// It runs, but not all of it.
pub const DEGRADED: u8 = 7;

/// `run`: an internal error.
pub const INTERNAL: u8 = 70;
/// `run`: the operating system refuses (an address in use, no permission); trying again may help.
pub const SYSTEM: u8 = 71;
/// `run`: bad configuration; trying again does not help.
pub const CONFIG: u8 = 78;
