//! What announcing a callback on the scoreboard costs, in a loop that does nothing else.
//!
//! The memory is shared as a worker's is. No system call can be in it: at some nanoseconds a round
//! there is no room for one.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use polyport::scoreboard::{BYTES, Callback, Scoreboard};
use polyport::sys::shared_memory::SharedWords;

const ROUNDS: u64 = 10_000_000;

/// Nanoseconds for one entering and leaving: the median of so many runs.
pub(crate) fn callback_ns(times: usize) -> io::Result<f64> {
    let file = SharedWords::file("polyport-bench", BYTES)?;
    let board = Scoreboard::over(SharedWords::map(&file)?).ok_or(io::ErrorKind::InvalidData)?;
    let slot = board.slot(0);
    let mut runs: Vec<f64> = (0..times)
        .map(|_| {
            let began = Instant::now();
            for round in 0..ROUNDS {
                slot.enter(black_box(Callback::Feed), black_box(round), black_box(7));
                slot.leave();
            }
            began.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    Ok(runs[runs.len() / 2])
}
