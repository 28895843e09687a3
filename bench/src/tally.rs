//! What a run of a load generator has shown, and what its requests are made of.
//!
//! Shared by the generators for streams and for datagrams, so that their figures mean the same. It
//! sends nothing and reads no clock.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

/// So many wrong or broken answers and the server is not worth measuring.
pub(crate) const ERRORS_MAX: u64 = 100;
/// A prime, so that requests do not begin at the same few places of the pattern.
pub(crate) const PATTERN_PERIOD: usize = 65_521;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) time: Duration,
    /// Of what was timed, in nanoseconds.
    latencies: Vec<u32>,
}

impl Tally {
    /// One burst or datagram was answered after so long.
    pub(crate) fn took(&mut self, latency: Duration) {
        let nanoseconds = u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX);
        self.latencies.push(nanoseconds);
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }

    /// There is no point in going on.
    pub(crate) fn is_enough(&self, requests_max: u64) -> bool {
        self.requests >= requests_max || self.errors >= ERRORS_MAX
    }

    /// The latency that so many percent did not exceed.
    pub(crate) fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let at = last * percent / 100;
        let nanoseconds = self.latencies.get(at).copied().unwrap_or(0);
        Duration::from_nanos(nanoseconds.into())
    }

    #[cfg(test)]
    pub(crate) fn timed(&self) -> usize {
        self.latencies.len()
    }
}

/// # Errors
///
/// For any other address: nothing beyond this machine is measured.
pub(crate) fn only_on_loopback(server: SocketAddrV4) -> io::Result<()> {
    if server.ip().is_loopback() {
        return Ok(());
    }
    let text = format!("{server} is not on loopback, and no other server is measured");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Bytes without an order of their own (xorshift), the same in every run: wherever in its period one
/// begins, so many follow.
pub(crate) fn pattern(length: usize) -> Box<[u8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let period: Vec<u8> = (0..PATTERN_PERIOD).map(|_| next()).collect();
    let all = PATTERN_PERIOD + length;
    (0..all).map(|at| period[at % PATTERN_PERIOD]).collect()
}
