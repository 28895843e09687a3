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

/// 18 MB in one topic, as a hub that was started just now sees it.
fn begun(place: &Place, retention: Retention) -> Sqlite {
    let mut sqlite = place.open(MUCH);
    for sequence in 1..=300 {
        sqlite.append(LINE, &Rc::new(large(sequence)));
    }
    assert!(sqlite.commit());
    drop(sqlite);
    place.open(retention)
}

/// The same, written by a hub that knew no runs.
fn begun_before(place: &Place) -> Sqlite {
    drop(begun(place, MUCH));
    let database = Connection::open(place.0.join("history.sqlite")).expect("opened");
    let mut rows = database
        .prepare("SELECT packed FROM bodies")
        .expect("known");
    let rows = rows.query_map([], |row| row.get(0)).expect("read");
    for packed in rows
        .collect::<rusqlite::Result<Vec<Vec<u8>>>>()
        .expect("read")
    {
        let messages = run::unpack(&packed).expect("packed");
        write_as_before(&database, &messages);
    }
    let cut = "DELETE FROM bodies; DELETE FROM runs";
    database.execute_batch(cut).expect("gone");
    place.open(MUCH)
}

#[track_caller]
fn assert_read(expected: std::ops::Range<u64>, mut work: impl FnMut()) {
    let before = bytes_read();
    work();
    let read = bytes_read() - before;
    assert!(expected.contains(&read), "{read} bytes");
}

#[test]
fn ids_and_numbers_are_read_without_the_messages() {
    let place = Place::new("numbers");
    let mut sqlite = begun(&place, MUCH);
    assert_read(0..200_000, || {
        let remembered = sqlite.recall(LINE, 4096);
        assert_eq!((remembered.last, remembered.ids.len()), (300, 300));
        assert_eq!(sqlite.first_of_last(LINE, 200), Some(101));
        assert_eq!(sqlite.oldest(LINE), Some(1));
    });
}

#[test]
fn of_a_hub_of_before_as_many_ids_are_known_as_may_be_read() {
    let place = Place::new("budget");
    let mut sqlite = begun_before(&place);
    assert_read(4_000_000..10_000_000, || {
        let remembered = sqlite.recall(LINE, 4096);
        assert_eq!(remembered.last, 300);
        let last = (message(300).id, 300);
        assert_eq!(remembered.ids.last(), Some(&last));
        assert!((50..100).contains(&remembered.ids.len()));
    });
    // Numbers stand for the messages that are not looked at.
    assert_eq!(sqlite.first_of_last(LINE, 200), Some(101));
    assert_eq!(sqlite.first_of_last(LINE, 400), Some(1));
    assert_eq!(sqlite.oldest(LINE), Some(1));
    assert_eq!(sqlite.read(LINE, 7, 2), [large(7), large(8)]);
    assert_eq!(sqlite.take_complaint(), None);
}

#[test]
fn what_somebody_missed_is_read_a_part_at_a_time() {
    let place = Place::new("parts");
    let mut sqlite = begun(&place, MUCH);
    assert_read(0..1_000_000, || {
        let read = sqlite.read(LINE, 1, 64);
        assert!((1..64).contains(&read.len()) && read[0] == large(1));
    });
}

#[test]
fn what_is_too_old_goes_in_portions() {
    let place = Place::new("old");
    let mut sqlite = begun(&place, MUCH);
    let mut portions = 0;
    loop {
        let before = bytes_read();
        let more = sqlite.sweep(100_000);
        assert!(sqlite.commit());
        let read = bytes_read() - before;
        assert!(read < 12_000_000, "{read} bytes");
        if !more {
            break;
        }
        assert!(sqlite.oldest(LINE).is_some_and(|it| it > 1));
        portions += 1;
    }
    assert!(portions > 1, "{portions}");
    assert_eq!(
        (sqlite.oldest(LINE), sqlite.recall(LINE, 9).last),
        (None, 300)
    );
}

#[test]
fn what_is_more_than_is_to_be_kept_from_now_on_goes_in_portions() {
    for holes in [false, true] {
        let place = Place::new("more");
        let few = Retention {
            messages: 64,
            keep_ms: u64::MAX,
            holes: false,
        };
        let mut sqlite = begun(&place, few);
        if holes {
            sqlite = sqlite.with_holes();
        }
        for sequence in 301..=320 {
            sqlite.append(LINE, &Rc::new(large(sequence)));
        }
        assert_read(0..12_000_000, || assert!(sqlite.commit()));
        assert!(sqlite.oldest(LINE).is_some_and(|it| it < 200));
        let mut more = true;
        while more {
            assert_read(0..12_000_000, || {
                more = sqlite.sweep(0);
                assert!(sqlite.commit());
            });
        }
        // A run goes as a whole.
        let oldest = sqlite.oldest(LINE).expect("some are kept");
        assert!((256..=257).contains(&oldest), "{oldest}");
    }
}

#[test]
fn a_topic_with_holes_is_not_counted_each_time() {
    let place = Place::new("counted");
    let mut sqlite = begun(&place, MUCH).with_holes();
    assert_read(0..200_000, || {
        for sequence in 301..=330 {
            sqlite.append(LINE, &Rc::new(message(64 * sequence)));
            assert!(sqlite.commit());
        }
    });
}

#[test]
fn a_large_file_is_not_read_as_a_whole_whenever_a_hub_begins() {
    let place = Place::new("large");
    let mut sqlite = begun(&place, MUCH);
    for sequence in 301..=600 {
        sqlite.append(LINE, &Rc::new(large(sequence)));
    }
    assert!(sqlite.commit());
    drop(sqlite);
    assert_read(0..2_000_000, || assert!(place.open(MUCH).keeps()));
}
