//! The wall clock, for what outlives a process or is shown to people: bans, times of messages, hours.
//!
//! It may be set back at any moment; nothing that waits is reckoned by it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; a clock before that is taken for its beginning.
pub fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
