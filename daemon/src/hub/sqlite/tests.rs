//! History as it is kept, forgotten, found damaged, and given up.

use super::*;

const LINE: Line<'_> = Line {
    service: "chat",
    topic: "lobby",
};
const MUCH: Retention = Retention {
    messages: 1000,
    keep_ms: 1000,
    holes: false,
};

/// A file of this process's own, in a folder that goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = format!("polyport-history-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        Place(folder)
    }

    fn open(&self, retention: Retention) -> Sqlite {
        Sqlite::open(&self.0.join("history.sqlite"), retention)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn message(sequence: u64) -> Kept {
    Kept {
        sequence,
        time_ms: sequence,
        id: format!("id {sequence}").into_bytes().into(),
        bytes: vec![b'x'; 1000].into(),
    }
}

fn sequences(sqlite: &mut Sqlite, from: u64) -> Vec<u64> {
    let rows = sqlite.read(LINE, from, 9);
    rows.iter().map(|kept| kept.sequence).collect()
}

#[test]
fn what_was_committed_is_there_for_the_next_hub_and_nothing_else() {
    let place = Place::new("kept");
    let mut sqlite = place.open(MUCH);
    sqlite.append(LINE, &Rc::new(message(1)));
    assert!(sqlite.commit());
    for sequence in [2, 5] {
        sqlite.append(LINE, &Rc::new(message(sequence)));
    }
    assert_eq!(
        sequences(&mut sqlite, 1),
        [1, 2, 5],
        "before it is committed"
    );
    assert!(sqlite.commit());
    sqlite.append(LINE, &Rc::new(message(6)));
    drop(sqlite);

    let mut sqlite = place.open(MUCH);
    let remembered = sqlite.recall(LINE, 2);
    let ids: Vec<u64> = remembered
        .ids
        .iter()
        .map(|(_, sequence)| *sequence)
        .collect();
    assert_eq!((remembered.last, ids), (5, vec![2, 5]));
    assert_eq!(sqlite.read(LINE, 2, 1), [message(2)]);
    assert_eq!(sqlite.first_of_last(LINE, 2), Some(2));
    sqlite.sweep(1002);
    assert_eq!(sequences(&mut sqlite, 1), [2, 5]);
    assert_eq!(sqlite.recall(LINE, 0).last, 5);
}

#[test]
fn only_so_many_of_a_topic_are_kept() {
    let place = Place::new("count");
    let mut sqlite = place.open(Retention {
        messages: 10,
        keep_ms: 1000,
        holes: false,
    });
    for sequence in 1..=128 {
        sqlite.append(LINE, &Rc::new(message(sequence)));
        // A row for each of them.
        assert!(sqlite.commit());
    }
    assert_eq!(sqlite.oldest(LINE), Some(119));
    for sequence in 129..=256 {
        sqlite.append(LINE, &Rc::new(message(sequence)));
    }
    // Of one row all are kept or none.
    assert_eq!(sqlite.oldest(LINE), Some(193));
}

#[test]
fn messages_are_the_same_however_many_lie_in_a_row() {
    for together in [1, 2, 63, 64] {
        let place = Place::new("together");
        let mut sqlite = place.open(MUCH);
        for sequence in 1..=200 {
            sqlite.append(LINE, &Rc::new(message(3 * sequence)));
            if sequence % together == 0 {
                assert!(sqlite.commit());
            }
        }
        assert!(sqlite.commit());
        drop(sqlite);
        let mut sqlite = place.open(MUCH);
        for from in [0, 1, 3, 4, 190, 191, 192, 193, 597, 600, 601] {
            for count in [1, 2, 64, 500] {
                let expected = (1..=200).map(|it| 3 * it).filter(|it| *it >= from);
                let expected: Vec<Kept> = expected.take(count).map(message).collect();
                assert_eq!(sqlite.read(LINE, from, count), expected, "{from}, {count}");
            }
        }
        for (count, first) in [(0, None), (1, Some(600)), (65, Some(408)), (999, Some(3))] {
            assert_eq!(sqlite.first_of_last(LINE, count), first, "{together}");
        }
        assert_eq!(sqlite.oldest(LINE), Some(3));
        let remembered = sqlite.recall(LINE, 3);
        let expected = [198, 199, 200].map(|it| (message(3 * it).id, 3 * it));
        assert_eq!((remembered.last, remembered.ids), (600, expected.to_vec()));
        assert_eq!(sqlite.take_complaint(), None);
    }
}

/// A row as hubs wrote it that knew no runs.
fn write_as_before(database: &Connection, messages: &[run::Packed<'_>]) {
    let (last, rest) = messages.split_last().expect("one");
    let mut before = Vec::new();
    for message in rest {
        message.pack(&mut before);
    }
    let before = (!rest.is_empty()).then_some(before);
    let put = "INSERT INTO messages VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    let (sequence, time_ms) = (last.sequence as i64, last.time_ms as i64);
    let values = params![sequence, time_ms, last.id, last.bytes, before];
    assert_eq!(database.execute(put, values), Ok(1));
    let mark = "UPDATE topics SET last = ?1";
    assert_eq!(database.execute(mark, [sequence]), Ok(1));
}

#[test]
fn what_hubs_of_before_wrote_is_read_among_what_was_written_since() {
    let place = Place::new("among");
    let all: Vec<Kept> = (1..=90).map(message).collect();
    let packed: Vec<run::Packed<'_>> = all.iter().map(run::Packed::of).collect();
    // Of ten messages each, by this hub, the one of before, and one with a row for each.
    for (nth, ten) in packed.chunks(10).enumerate() {
        let mut sqlite = place.open(MUCH);
        for message in ten {
            sqlite.append(LINE, &Rc::new(message.unpacked()));
        }
        if nth % 3 == 0 {
            assert!(sqlite.commit());
            continue;
        }
        drop(sqlite);
        let database = Connection::open(place.0.join("history.sqlite")).expect("opened");
        match nth % 3 {
            1 => write_as_before(&database, ten),
            _ => ten
                .chunks(1)
                .for_each(|one| write_as_before(&database, one)),
        }
    }
    let mut sqlite = place.open(MUCH);
    for from in 1..=90 {
        let expected = &all[from - 1..];
        assert_eq!(sqlite.read(LINE, from as u64, 100), expected);
        let count = expected.len() as u64;
        assert_eq!(sqlite.first_of_last(LINE, count), Some(from as u64));
    }
    let remembered = sqlite.recall(LINE, 100);
    let expected: Vec<_> = all.iter().map(|it| (it.id.clone(), it.sequence)).collect();
    assert_eq!((remembered.last, remembered.ids), (90, expected));
    // Older than the run that ends with 40, and the one of before that ends with 50.
    for (now_ms, oldest) in [(1031, Some(31)), (1041, Some(41)), (1051, Some(51))] {
        assert!(!sqlite.sweep(now_ms));
        assert_eq!(sqlite.oldest(LINE), oldest);
    }
    assert!(!sqlite.sweep(2000));
    let database = sqlite.database.as_ref().expect("open");
    for table in ["messages", "runs", "bodies"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left = database.query_row(&sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(left, Ok(0), "{table}");
    }
    assert_eq!(sqlite.take_complaint(), None);
}

#[test]
fn a_file_of_a_release_with_a_row_for_each_message_goes_on() {
    let place = Place::new("older");
    let database = Connection::open(place.0.join("history.sqlite")).expect("made");
    let older = rows::SCHEMA.replace("before BLOB,", "");
    database.execute_batch(&older).expect("made");
    database
        .execute_batch("DROP TABLE runs; DROP TABLE bodies")
        .expect("made");
    let rows = "INSERT INTO topics VALUES (1, 'chat', 'lobby', 2);
                INSERT INTO messages VALUES (1, 1, 5, X'01', X'61'), (1, 2, 6, X'02', X'62');";
    database.execute_batch(rows).expect("made");
    drop(database);
    let mut sqlite = place.open(MUCH);
    assert_eq!(sqlite.recall(LINE, 9).last, 2);
    for sequence in [3, 4] {
        sqlite.append(LINE, &Rc::new(message(sequence)));
    }
    assert!(sqlite.commit());
    assert_eq!(sequences(&mut sqlite, 1), [1, 2, 3, 4]);
    assert_eq!(*sqlite.read(LINE, 2, 1)[0].bytes, *b"b");
}

#[test]
fn a_row_that_makes_no_sense_stops_history_and_says_where() {
    let spoilt = [
        "UPDATE bodies SET packed = substr(packed, 1, 100)",
        "UPDATE bodies SET packed = X''",
        "UPDATE bodies SET packed = packed || packed",
        "UPDATE bodies SET packed = zeroblob(24)",
        "UPDATE bodies SET packed = 5",
        "UPDATE runs SET heads = X'00'",
        "UPDATE runs SET sequence = sequence + 7",
        "UPDATE runs SET sequence = -1",
        "UPDATE topics SET last = -1",
        "UPDATE topics SET last = 'x'",
        "DELETE FROM bodies",
        "INSERT INTO messages VALUES (1, 3, 1, X'', zeroblob(65537), NULL)",
        "INSERT INTO messages VALUES (1, 3, 1, zeroblob(66), X'', NULL)",
        "INSERT INTO messages VALUES (1, 3, 1, X'', X'', zeroblob(9))",
        "INSERT INTO messages VALUES (1, 0, 1, X'', X'', NULL)",
    ];
    for spoil in spoilt {
        let place = Place::new("nonsense");
        let mut sqlite = place.open(MUCH);
        for sequence in [1, 2] {
            sqlite.append(LINE, &Rc::new(message(sequence)));
        }
        assert!(sqlite.commit());
        drop(sqlite);
        let mut sqlite = place.open(MUCH);
        let database = sqlite.database.as_ref().expect("open");
        assert_eq!(database.execute(spoil, []), Ok(1), "{spoil}");
        sqlite.recall(LINE, 9);
        sqlite.read(LINE, 1, 9);
        assert!(!sqlite.keeps(), "{spoil}");
        let complaint = sqlite.take_complaint().expect("it says so");
        for part in [
            "history.sqlite: ",
            "live messages go on. ",
            "move the file away",
        ] {
            assert!(complaint.contains(part), "{spoil}: {complaint}");
        }
        sqlite.append(LINE, &Rc::new(message(3)));
        sqlite.sweep(9);
        assert!(!sqlite.commit());
        assert_eq!(sqlite.take_complaint(), None);
    }
}

#[test]
fn what_fails_in_the_middle_of_a_portion_is_undone_and_stops_history() {
    let place = Place::new("middle");
    let mut sqlite = place.open(MUCH);
    for sequence in 1..=200 {
        sqlite.append(LINE, &Rc::new(message(sequence)));
    }
    assert!(sqlite.commit());
    let database = sqlite.database.as_ref().expect("open");
    // The messages have been given up when this is found, and half of what leads to them.
    let full = "CREATE TEMP TRIGGER full BEFORE DELETE ON runs WHEN old.sequence > 100 \
                BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    database.execute_batch(full).expect("made");
    sqlite.sweep(5000);
    assert!(!sqlite.keeps());
    let complaint = sqlite.take_complaint().expect("it says so");
    assert!(complaint.contains("disk is full"), "{complaint}");
    drop(sqlite);
    let mut sqlite = place.open(MUCH);
    let all: Vec<Kept> = (1..=200).map(message).collect();
    assert_eq!(sqlite.read(LINE, 1, 300), all);
}

#[test]
fn a_damaged_file_stops_history_and_says_so_once() {
    let place = Place::new("damaged");
    std::fs::write(place.0.join("history.sqlite"), [b'?'; 8192]).expect("written");
    let mut sqlite = place.open(MUCH);
    assert!(!sqlite.keeps());
    let complaint = sqlite.take_complaint().expect("it says so");
    assert!(complaint.contains("history.sqlite"), "{complaint}");
    sqlite.append(LINE, &Rc::new(message(1)));
    assert!(sequences(&mut sqlite, 1).is_empty());
    assert!(!sqlite.commit());
    assert_eq!(sqlite.take_complaint(), None);
}

#[test]
fn a_full_disk_stops_history_and_says_so_once() {
    let place = Place::new("full");
    let mut sqlite = place.open(MUCH);
    let database = sqlite.database.as_ref().expect("open");
    database
        .query_row("PRAGMA max_page_count = 20", [], |_| Ok(()))
        .expect("set");
    for sequence in 1..200 {
        sqlite.append(LINE, &Rc::new(message(sequence)));
    }
    assert!(!sqlite.keeps());
    let complaint = sqlite.take_complaint().expect("it says so");
    assert!(complaint.contains("full"), "{complaint}");
    assert!(!sqlite.commit());
    assert_eq!(sqlite.take_complaint(), None);
}
mod cost;
