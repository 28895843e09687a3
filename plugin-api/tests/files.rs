//! Files through the fake host: in order with what is written, whole or with a named end.

use std::fs::{self, File};
use std::path::PathBuf;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{FakeHost, Setup, Split};

/// Each line is an order: `say WORDS`, `file OFFSET LENGTH`, `close`.
struct Sends {
    path: PathBuf,
}

impl Configure for Sends {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let path = settings.text("path").into();
        Ok(Sends { path })
    }
}

impl Sends {
    fn obey(&self, cx: &mut Context, from: SessionId, order: &str) -> Result {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["say", word] => cx.write(from, word.as_bytes()),
            ["file", offset, length] => {
                let file = File::open(&self.path).map_err(|_| Error::Failed)?;
                let number = |text: &str| text.parse().expect("a number");
                match cx.send_file(from, file, number(offset), number(length)) {
                    Err(Error::Argument) => cx.write(from, b"(refused)"),
                    other => other,
                }
            }
            _ => cx.close(from, "as told"),
        }
    }
}

impl Protocol for Sends {
    type Session = ();
    const OPTIONS: &'static [Opt] = &[Opt::text(c"path", c"The file.")];

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let text = std::str::from_utf8(input).map_err(|_| Error::Failed)?;
        let mut consumed = 0;
        for line in text.split_inclusive('\n') {
            let Some(order) = line.strip_suffix('\n') else {
                break;
            };
            self.obey(cx, from, order)?;
            consumed += line.len();
        }
        Ok(consumed)
    }

    fn closed(&mut self, cx: &mut Context, _: SessionId, (): (), why: End) {
        cx.info(format!("{why:?}"));
    }
}

struct Scene {
    path: PathBuf,
}

impl Scene {
    fn new(name: &str, content: &[u8]) -> Scene {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sent-{name}"));
        fs::write(&path, content).expect("the scratch folder is writable");
        Scene { path }
    }

    fn setup(&self) -> Setup {
        Setup::of::<Sends>().set("path", self.path.to_str().expect("UTF-8"))
    }

    fn start(&self) -> FakeHost {
        self.setup().start().expect("it starts")
    }
}

#[test]
fn ranges_leave_in_order_with_bytes_and_count_as_queued() {
    let scene = Scene::new("order", b"0123456789");
    for split in [Split::Whole, Split::EveryByte] {
        let mut host = scene.setup().split(split).start().expect("it starts");
        let peer = host.connect();
        host.peer_stops_reading(peer);
        host.send(
            peer,
            b"say a\nfile 2 3\nfile 9 1\nfile 4 0\nsay b\nfile 0 2\nclose\n",
        );
        assert_eq!(host.queued(peer), 8);
        assert_eq!(host.sent_files(peer), [2..5, 9..10, 4..4, 0..2]);
        for read in 1..=8 {
            host.peer_reads(peer, 1);
            assert_eq!(host.received(peer), &b"a2349b01"[..read]);
        }
        assert_eq!(host.end(peer), Some(End::Finished));
    }
}

#[test]
fn what_is_no_range_of_a_file_is_refused() {
    let scene = Scene::new("refused", b"0123456789");
    for (orders, expected) in [
        ("file 0 10\n", "0123456789"),
        ("file 10 0\n", ""),
        ("file 0 11\n", "(refused)"),
        ("file 11 0\n", "(refused)"),
        ("file 18446744073709551615 2\n", "(refused)"),
    ] {
        let mut host = scene.start();
        let peer = host.connect();
        host.send(peer, orders.as_bytes());
        assert_eq!(host.received(peer), expected.as_bytes(), "{orders}");
    }
    let folder = Setup::of::<Sends>().set("path", env!("CARGO_TARGET_TMPDIR"));
    let mut host = folder.start().expect("it starts");
    let peer = host.connect();
    host.send(peer, b"file 0 1\n");
    assert_eq!(host.received(peer), b"(refused)", "a folder is no file");
}

#[test]
fn what_is_behind_a_range_that_is_not_in_memory_waits_for_it() {
    let scene = Scene::new("cold", b"0123456789");
    let mut host = scene.setup().cold_files().start().expect("it starts");
    let peer = host.connect();
    host.send(peer, b"say a\nfile 0 4\nsay b\nclose\n");
    assert_eq!(host.received(peer), b"a");
    assert_eq!(host.end(peer), None);
    host.read_files();
    assert_eq!(host.received(peer), b"a0123b");
    assert_eq!(host.end(peer), Some(End::Finished));
}

#[test]
fn a_file_that_becomes_shorter_ends_its_session_and_one_that_grows_is_sent_as_promised() {
    for (changed, received, end) in [
        (&b"01"[..], &b"a"[..], End::File),
        (b"0123456789 and more", b"a0123456789b", End::Finished),
    ] {
        let scene = Scene::new("changes", b"0123456789");
        let mut host = scene.setup().cold_files().start().expect("it starts");
        let peer = host.connect();
        host.send(peer, b"say a\nfile 0 10\nsay b\nclose\n");
        fs::write(&scene.path, changed).expect("it is ours");
        host.read_files();
        assert_eq!(host.received(peer), received);
        assert_eq!(host.end(peer), Some(end));
        assert_eq!(host.log()[0].text, format!("{end:?}"));
    }
}

#[test]
fn a_session_has_so_many_ranges_and_goes_on_when_they_have_left() {
    let scene = Scene::new("many", b"0123456789");
    let mut host = scene.start();
    let peer = host.connect();
    host.peer_stops_reading(peer);
    for _ in 0..100 {
        host.send(peer, b"file 0 1\nsay x\n");
    }
    host.send(peer, b"close\n");
    assert_eq!(host.queued(peer), 64, "32 ranges, and a word behind each");
    host.peer_reads_on(peer);
    assert_eq!(host.received(peer), "0x".repeat(100).as_bytes());
    assert_eq!(host.end(peer), Some(End::Finished));
}

#[test]
fn a_feed_that_found_the_output_full_has_sent_no_file() {
    let scene = Scene::new("undone", b"0123456789");
    for refused in 1..3 {
        let mut host = scene.setup().full_at(refused).start().expect("it starts");
        let peer = host.connect();
        host.send(peer, b"say a\nfile 0 2\nsay b\nfile 2 2\nclose\n");
        assert_eq!(host.received(peer), b"a01b23", "refused {refused}");
        assert_eq!(host.sent_files(peer), [0..2, 2..4], "refused {refused}");
    }
}
