//! What requests of streams are made of: bytes without an order, of which each request is a line, as long as
//! lines are.
//!
//! There are peers that echo lines only, and all servers are to be asked the same. Invariant: of two bursts
//! that are under way at once hardly any are alike, so that an answer meant for another is noticed.

use crate::tally::{PATTERN_PERIOD, pattern};

/// Longer ones are not lines.
const LINE_BYTES_MAX: usize = 4096;

/// Whether requests of so many bytes end each with a line feed.
pub(crate) fn are_lines(request_bytes: usize) -> bool {
    (2..=LINE_BYTES_MAX).contains(&request_bytes)
}

pub(crate) struct Requests {
    bytes: Box<[u8]>,
    period: usize,
    /// Bursts begin at multiples of it.
    step: usize,
}

impl Requests {
    pub(crate) fn of(request_bytes: usize, burst_bytes: usize) -> Requests {
        let lines = are_lines(request_bytes);
        let step = if lines { request_bytes } else { 1 };
        let period = PATTERN_PERIOD / step * step;
        let disorder = pattern(0);
        let byte = |at: usize| match disorder[at % period] {
            _ if lines && at % step == step - 1 => b'\n',
            b'\n' if lines => b' ',
            byte => byte,
        };
        Requests {
            bytes: (0..period + burst_bytes).map(byte).collect(),
            period,
            step,
        }
    }

    /// Where the first burst of a connection begins.
    pub(crate) fn first(&self, connection: usize) -> usize {
        connection * 7919 * self.step % self.period
    }

    /// Where the burst behind one that ends at `end` begins.
    pub(crate) fn next(&self, end: usize) -> usize {
        (end + self.step) % self.period
    }

    pub(crate) fn burst(&self, from: usize, length: usize) -> &[u8] {
        &self.bytes[from..from + length]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::comparison;

    /// Of every load, while its connections keep step; those that run ahead meet others now and then.
    #[test]
    fn bursts_that_are_under_way_at_once_differ() {
        for workload in comparison::STREAMS {
            let comparison::Requests::Streams(load) = workload.requests else {
                continue;
            };
            let burst_bytes = load.bytes * load.pipelined;
            let requests = Requests::of(load.bytes, burst_bytes);
            let first = (0..load.connections).map(|connection| requests.first(connection));
            let mut places: Vec<usize> = first.collect();
            for turn in 0..20 {
                let bursts = places.iter().map(|at| requests.burst(*at, burst_bytes));
                let different: BTreeSet<&[u8]> = bursts.collect();
                assert_eq!(
                    different.len(),
                    load.connections,
                    "{}, {turn}",
                    workload.name
                );
                for at in &mut places {
                    *at = requests.next(*at + burst_bytes);
                }
            }
        }
    }

    #[test]
    fn a_request_is_one_line_if_it_can_be_one() {
        for (bytes, lines) in [
            (1, false),
            (2, true),
            (64, true),
            (4096, true),
            (16_384, false),
        ] {
            assert_eq!(are_lines(bytes), lines);
            let requests = Requests::of(bytes, 3 * bytes);
            let mut from = requests.first(5);
            for _ in 0..5000 {
                let burst = requests.burst(from, 3 * bytes);
                for request in burst.chunks(bytes).filter(|_| lines) {
                    let end = request.iter().position(|byte| *byte == b'\n');
                    assert_eq!(end, Some(bytes - 1));
                }
                from = requests.next(from + burst.len());
            }
        }
    }
}
