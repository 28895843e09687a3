//! What is read of a file, in bytes as the kernel counts them: of large messages only what is wanted.

use super::*;

/// What this thread has read so far.
fn bytes_read() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/io").expect("the kernel counts");
    let read = counters.lines().find_map(|it| it.strip_prefix("rchar: "));
    read.and_then(|it| it.parse().ok()).expect("a number")
}

fn large(sequence: u64) -> Kept {
    Kept {
        bytes: vec![b'x'; 60_000].into(),
        ..message(sequence)
    }
}

/// 18 MB in one topic, and in a second one a little, as a hub that was started just now sees it.
fn begun(place: &Place, retention: Retention) -> Sqlite {
    let mut sqlite = place.open(MUCH);
    for sequence in 1..=300 {
        sqlite.append(LINE, &Rc::new(large(sequence)));
    }
    assert!(sqlite.commit());
    drop(sqlite);
    place.open(retention)
}

#[test]
fn ids_and_numbers_are_read_without_the_messages() {
    let place = Place::new("numbers");
    let mut sqlite = begun(&place, MUCH);
    let before = bytes_read();
    let remembered = sqlite.recall(LINE, 4096);
    assert_eq!((remembered.last, remembered.ids.len()), (300, 300));
    assert_eq!(sqlite.first_of_last(LINE, 200), Some(101));
    assert_eq!(sqlite.oldest(LINE), Some(1));
    let read = bytes_read() - before;
    assert!(read < 2_000_000, "{read} bytes");
}
