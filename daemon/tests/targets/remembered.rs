//! What a worker leaves in the memory that it shares with the supervisor, which a peer may have taken over:
//! all of it can be read and shown, whatever it is.

use std::fs::File;
use std::os::unix::fs::FileExt;

use polyport::scoreboard::blame::network_of;
use polyport::scoreboard::{BYTES, Counter, Scoreboard};
use polyport::sys::shared_memory::SharedWords;

/// Patches over a scoreboard in order: two bytes of a place in words, one of a length, the bytes; what is
/// left over, as well.
pub fn scoreboard(bytes: &[u8]) -> bool {
    let file = SharedWords::file("fuzzed", BYTES).expect("memory");
    let file = File::from(file);
    let words = SharedWords::map(&file).expect("it is long enough");
    let board = Scoreboard::over(words).expect("it is long enough");
    board.initialise();
    let mut rest = bytes;
    while let [low, high, length, patch @ ..] = rest {
        let (patch, behind) = patch.split_at(patch.len().min(usize::from(*length)));
        let at = usize::from(u16::from_le_bytes([*low, *high])) * 8 % BYTES;
        let patch = &patch[..patch.len().min(BYTES - at)];
        file.write_all_at(patch, at as u64).expect("written");
        rest = behind;
    }
    let _ = (board.has_known_layout(), board.read(Counter::BytesIn));
    for glance in board.glances() {
        assert!(!glance.callback.name().is_empty());
        let _ = (glance.inside(), network_of(glance.source));
    }
    let (count, sources) = board.soft_faults(1);
    assert!(sources.len() <= 16 && sources.len() as u64 <= count);
    for range in board.code() {
        is_one_line(&range.path);
        for address in [0, range.base, range.start, range.end, u64::MAX] {
            let _ = range.offset(address);
        }
    }
    if let Some(crash) = board.crash() {
        assert!((1..=64).contains(&crash.frames.len()), "{crash:?}");
    }
    let metrics = board.metrics();
    for (nth, metric) in metrics.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(metric.name.bytes().all(plain), "{metric:?}");
        is_one_line(&metric.help);
        assert!(metric.bounds.is_sorted(), "{metric:?}");
        assert!(nth < 64 && (1..=18).contains(&metric.values.len()));
    }
    !metrics.is_empty()
}

fn is_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
