//! Frames as they are written and read, whole, cut and mutated.

use super::*;

fn asks() -> Vec<Ask<'static>> {
    let message = Message {
        sequence: 7,
        time_ms: 9,
        id: b"\x01id",
        bytes: b"hello",
    };
    let start = |start| Ask::Subscribe {
        token: 1,
        topic: "room/lobby",
        start,
        live: true,
    };
    vec![
        Ask::Hello { version: VERSION },
        Ask::Restore {
            topic: "t",
            message,
        },
        Ask::Resumed,
        Ask::Publish {
            token: 3,
            topic: "t",
            id: b"",
            bytes: &[0xff; 300],
        },
        start(Start::Last(50)),
        start(Start::From(1)),
        start(Start::Again(u64::MAX)),
        Ask::Unsubscribe { token: 1 },
        Ask::Claim {
            token: 4,
            key: "nick.bob",
            value: b"v",
            session: b"s",
            held: true,
        },
        Ask::Release {
            key: "nick.bob",
            session: b"s",
        },
        Ask::Watch {
            token: 5,
            prefix: "",
        },
        Ask::Unwatch { token: 5 },
        Ask::Take { topic: "t" },
        Ask::Wrote {
            topic: "t",
            message,
        },
        Ask::Return { topic: "t" },
    ]
}

fn news() -> Vec<News<'static>> {
    let message = Message {
        sequence: 1,
        time_ms: 2,
        id: b"",
        bytes: b"",
    };
    let (token, key, value) = (9, "k", &b"v"[..]);
    vec![
        News::Welcome { version: VERSION },
        News::Message { token, message },
        News::Missed {
            token,
            from: 1,
            to: 2,
        },
        News::CaughtUp { token, sequence: 3 },
        News::Published {
            token,
            sequence: 0,
            time_ms: 1,
        },
        News::Won { token },
        News::Denied { token, value },
        News::Held { token, key, value },
        News::Free { token, key },
        News::Seeing { token },
        News::AllSeen { token },
        News::Stored,
        News::Away,
        News::Offer { topic: "t" },
        News::Ids {
            ids: PackedIds::of(b""),
        },
        News::Ids {
            ids: PackedIds::of(b"\x07\0\0\0\0\0\0\0\x02\0\0\0id\x08\0\0\0\0\0\0\0\0\0\0\0"),
        },
        News::Pen {
            topic: "t",
            last: 7,
            time_ms: 8,
        },
        News::Recall { topic: "t" },
        News::Returned,
        News::StoredWritten { count: 9 },
    ]
}

#[test]
fn what_is_written_is_read_and_no_part_of_it_is() {
    let mut frames = Vec::new();
    for ask in asks() {
        let mut bytes = Vec::new();
        ask.write(&mut bytes);
        frames.push((bytes, format!("{ask:?}"), true));
    }
    for it in news() {
        let mut bytes = Vec::new();
        it.write(&mut bytes);
        frames.push((bytes, format!("{it:?}"), false));
    }
    for (bytes, expected, is_ask) in frames {
        let read = |content: &[u8]| match is_ask {
            true => Ask::read(content).map(|it| format!("{it:?}")),
            false => News::read(content).map(|it| format!("{it:?}")),
        };
        for cut in 0..bytes.len() {
            assert_eq!(next_frame(&bytes[..cut]), Ok(None), "{expected}");
        }
        let (content, taken) = next_frame(&bytes).expect("good").expect("whole");
        assert_eq!((read(content), taken), (Ok(expected.clone()), bytes.len()));
        for cut in 0..content.len() {
            assert!(read(&content[..cut]).is_err(), "{expected} cut at {cut}");
        }
        let longer = [content, &[0]].concat();
        assert!(read(&longer).is_err(), "{expected} with a byte more");
    }
}

#[test]
fn impossible_lengths_and_names_are_refused() {
    for length in [0, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        assert!(next_frame(&length.to_le_bytes()).is_err(), "{length}");
    }
    for key in [&b"a*b"[..], b"a b", b"\xff", &[b'x'; NAME_BYTES_MAX + 1]] {
        let mut content = vec![8];
        content.extend_from_slice(&(key.len() as u32).to_le_bytes());
        content.extend_from_slice(key);
        content.extend_from_slice(&[0; 4]);
        assert!(Ask::read(&content).is_err(), "{key:?}");
    }
}

#[test]
fn ids_are_packed_and_found_again_and_whole_or_refused() {
    let all = [(7, &b"id"[..]), (9, b""), (u64::MAX, &[0xff; ID_BYTES_MAX])];
    let mut packed = Vec::new();
    for (sequence, id) in all {
        PackedIds::put(&mut packed, sequence, id);
    }
    let ids = PackedIds::of(&packed);
    assert_eq!(ids.iter().collect::<Vec<_>>(), all);
    let mut longer = Vec::new();
    PackedIds::put(&mut longer, 1, &[0; ID_BYTES_MAX + 1]);
    for bad in [&packed[..packed.len() - 1], &longer] {
        let mut frame = Vec::new();
        News::Ids {
            ids: PackedIds::of(bad),
        }
        .write(&mut frame);
        assert!(News::read(&frame[4..]).is_err());
    }
}

/// Whatever the bytes: no panic, and what is read is written as the same bytes.
#[test]
fn every_mutation_is_read_as_what_it_says_or_refused() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = Vec::new();
        let is_ask = round % 2 == 0;
        if is_ask {
            let asks = asks();
            asks[random() as usize % asks.len()].write(&mut bytes);
        } else {
            let news = news();
            news[random() as usize % news.len()].write(&mut bytes);
        }
        let at = 4 + random() as usize % (bytes.len() - 4);
        match random() % 3 {
            0 => bytes[at] = random() as u8,
            1 => bytes.insert(at, random() as u8),
            _ => drop(bytes.remove(at)),
        }
        let content = &bytes[4..];
        let mut again = Vec::new();
        let outcome = match is_ask {
            true => Ask::read(content).map(|it| it.write(&mut again)),
            false => News::read(content).map(|it| it.write(&mut again)),
        };
        match outcome {
            Ok(()) => {
                assert_eq!(&again[4..], content);
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > 100 && refused > 1000,
        "{read} read, {refused} refused"
    );
}
