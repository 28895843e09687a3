//! What changes while it is served, what is very large, and peers that do not read.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use polyport_plugin::End;
use polyport_plugin::testing::FakeHost;
use support::{Hole, NOT_HERE, answer, ask, lines, names, text};

/// Ready menus do not need a job; the first one does.
fn needs_job(host: &mut FakeHost, request: &str) -> bool {
    let peer = host.connect();
    host.send(peer, request.as_bytes());
    let waits = host.works() > 0;
    answer(host, peer);
    waits
}

#[test]
fn a_menu_is_ready_until_something_in_it_changes() {
    let hole = Hole::of(&[
        ("sub/a.txt", b""),
        ("mapped/gophermap", b"=part\n"),
        ("mapped/part", b"old\n"),
    ]);
    for path in ["sub", "mapped", "mapped/gophermap", "mapped/part"] {
        hole.age(path);
    }
    let mut host = hole.host();
    for request in [
        "/sub\r\n",
        "/mapped\r\n",
        "/sub\t$\r\n",
        "GET /sub HTTP/1.0\r\n\r\n",
    ] {
        assert!(needs_job(&mut host, request), "{request:?} the first time");
        assert!(
            !needs_job(&mut host, request),
            "{request:?} the second time"
        );
    }
    hole.put(b"sub/b.txt", b"");
    assert_eq!(
        names(&ask(&mut host, "/sub\r\n")),
        ["1..", "0a.txt", "0b.txt"]
    );
    hole.put(b"mapped/part", b"new and longer\n");
    assert_eq!(names(&ask(&mut host, "/mapped\r\n")), ["inew and longer"]);
    fs::remove_file(hole.path(b"mapped/part")).expect("it was there");
    assert_eq!(names(&ask(&mut host, "/mapped\r\n")).len(), 0);
    fs::remove_dir_all(hole.path(b"sub")).expect("it was there");
    assert_eq!(text(&ask(&mut host, "/sub\r\n")), NOT_HERE);
}

#[test]
fn what_gopher_plus_says_of_a_file_is_made_anew_when_the_file_changes() {
    let hole = Hole::of(&[("sub/a.txt", b"a"), ("sub/a.txt.abstract", b"As it was.\n")]);
    hole.age("sub");
    let mut host = hole.host();
    assert!(text(&ask(&mut host, "/sub\t$\r\n")).contains("<0.0k>"));
    assert!(!needs_job(&mut host, "/sub\t$\r\n"));
    hole.put(b"sub/a.txt", &[b'a'; 102_400]);
    assert!(text(&ask(&mut host, "/sub\t$\r\n")).contains("<100.0k>"));
    hole.age("sub/a.txt");
    assert!(needs_job(&mut host, "/sub\t$\r\n"));
    assert!(!needs_job(&mut host, "/sub\t$\r\n"));
    hole.put(b"sub/a.txt.abstract", b"As it is.\n");
    assert!(text(&ask(&mut host, "/sub\t$\r\n")).contains(" As it is."));
    // Of more than can be looked at each time nothing is kept.
    for nth in 0..70 {
        hole.put(format!("many/{nth}.txt").as_bytes(), b"");
    }
    hole.age("many");
    assert!(needs_job(&mut host, "/many\t$\r\n"));
    assert!(needs_job(&mut host, "/many\t$\r\n"));
}

#[test]
fn a_long_menu_that_is_ready_leaves_as_a_file_and_is_the_same() {
    let hole = Hole::of(&[]);
    for nth in 0..400 {
        hole.put(format!("long/{nth}-{}.txt", "x".repeat(20)).as_bytes(), b"");
    }
    hole.age("long");
    let mut host = hole.host();
    for (request, has_body) in [
        ("/long\r\n", true),
        ("/long\t+\r\n", true),
        ("GET /long HTTP/1.0\r\n\r\n", true),
        ("HEAD /long HTTP/1.0\r\n\r\n", false),
    ] {
        let mut answer_and_files = || {
            let peer = host.connect();
            host.send(peer, request.as_bytes());
            while host.run_work() {}
            (answer(&mut host, peer), host.sent_files(peer).len())
        };
        let (made, _) = answer_and_files();
        assert_eq!(made.len() > 16 * 1024, has_body, "{request:?}");
        for _ in 0..2 {
            assert_eq!(answer_and_files(), (made.clone(), usize::from(has_body)));
        }
    }
}

#[test]
fn a_menu_that_has_just_changed_is_not_kept() {
    let hole = Hole::of(&[("sub/a.txt", b"")]);
    let ahead = SystemTime::now() + Duration::from_secs(60);
    let folder = fs::File::open(hole.path(b"sub")).expect("it is there");
    folder.set_modified(ahead).expect("it is ours");
    let mut host = hole.host();
    assert!(needs_job(&mut host, "/sub\r\n"));
    assert!(needs_job(&mut host, "/sub\r\n"));
}

#[test]
fn a_small_file_is_ready_until_it_changes() {
    let hole = Hole::of(&[("x.txt", b"as it was")]);
    hole.age("x.txt");
    let setup = hole.setup().set("world_readable", "true");
    let mut host = setup.start().expect("good settings");
    // The answers, and whether a file was opened for them.
    let asked_thrice = |host: &mut FakeHost| {
        [(); 3].map(|()| {
            let peer = host.connect();
            host.send(peer, b"/x.txt\r\n");
            let text = text(&answer(host, peer));
            (text, !host.sent_files(peer).is_empty())
        })
    };
    let read_twice = |text: &str| [true, true, false].map(|read| (text.to_owned(), read));
    assert_eq!(asked_thrice(&mut host), read_twice("as it was"));
    // Of the same length and of the same age: only the kernel's own note tells.
    hole.put(b"x.txt", b"as it is.");
    hole.age("x.txt");
    assert_eq!(asked_thrice(&mut host), read_twice("as it is."));
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(hole.path(b"x.txt"), mode(0o600)).expect("it is ours");
    assert_eq!(text(&ask(&mut host, "/x.txt\r\n")), NOT_HERE);
    fs::set_permissions(hole.path(b"x.txt"), mode(0o644)).expect("it is ours");
    hole.age("x.txt");
    assert_eq!(asked_thrice(&mut host), read_twice("as it is."));
    fs::remove_file(hole.path(b"x.txt")).expect("it was there");
    assert_eq!(text(&ask(&mut host, "/x.txt\r\n")), NOT_HERE);
}

#[test]
fn a_file_becomes_something_else_between_two_requests() {
    let hole = Hole::of(&[("x", b"a file")]);
    let mut host = hole.host();
    let place = hole.path(b"x");
    assert_eq!(ask(&mut host, "/x\r\n"), b"a file");
    fs::write(&place, b"a longer file").expect("it is ours");
    assert_eq!(ask(&mut host, "/x\r\n"), b"a longer file");
    fs::remove_file(&place).expect("it was there");
    assert_eq!(text(&ask(&mut host, "/x\r\n")), NOT_HERE);
    hole.fifo("x");
    assert_eq!(text(&ask(&mut host, "/x\r\n")), NOT_HERE);
    fs::remove_file(&place).expect("it was there");
    hole.put(b"x/y", b"");
    assert_eq!(names(&ask(&mut host, "/x\r\n")), ["1..", "0y"]);
    fs::remove_dir_all(&place).expect("it was there");
    hole.link("x", "/etc/passwd");
    assert_eq!(text(&ask(&mut host, "/x\r\n")), NOT_HERE);
}

#[test]
fn a_file_changes_while_it_is_sent() {
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let hole = Hole::of(&[
        ("grows.bin", &content),
        ("shrinks.bin", &content),
        ("goes.bin", &content),
    ]);
    let mut host = hole.host();
    let begin = |host: &mut FakeHost, name: &str| {
        let peer = host.connect();
        host.peer_stops_reading(peer);
        host.send(peer, format!("/{name}\r\n").as_bytes());
        while host.run_work() {}
        host.peer_reads(peer, 1000);
        peer
    };
    let (grows, shrinks, goes) = (
        begin(&mut host, "grows.bin"),
        begin(&mut host, "shrinks.bin"),
        begin(&mut host, "goes.bin"),
    );
    let longer = [&content[..], b"and more"].concat();
    fs::write(hole.path(b"grows.bin"), longer).expect("it is ours");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(hole.path(b"shrinks.bin"));
    file.and_then(|file| file.set_len(5000))
        .expect("it is ours");
    fs::remove_file(hole.path(b"goes.bin")).expect("it was there");
    for peer in [grows, shrinks, goes] {
        host.peer_reads_on(peer);
    }
    assert!(host.is_finished(grows) && host.received(grows) == content);
    assert!(host.is_finished(goes) && host.received(goes) == content);
    // No peer takes half a file for a whole one.
    assert_eq!(host.end(shrinks), Some(End::File));
    assert!(!host.is_finished(shrinks));
}

/// Its end would be put right, and look like one.
#[test]
fn a_text_that_becomes_shorter_while_its_lines_are_changed_does_not_end_well() {
    let content = "a line\n".repeat(100_000);
    for text in ["crlf", "rfc1436"] {
        let hole = Hole::of(&[("text.txt", content.as_bytes())]);
        let mut host = hole.setup().set("text", text).start().expect("it starts");
        let peer = host.connect();
        host.peer_stops_reading(peer);
        host.send(peer, b"/text.txt\r\n");
        while host.run_work() {}
        let file = fs::OpenOptions::new()
            .write(true)
            .open(hole.path(b"text.txt"));
        file.and_then(|file| file.set_len(5000))
            .expect("it is ours");
        host.peer_reads_on(peer);
        while host.run_work() {}
        assert_eq!(host.end(peer), Some(End::Aborted), "{text}");
        assert!(!host.is_finished(peer), "{text}");
        assert!(!host.received(peer).ends_with(b"\r\n.\r\n"), "{text}");
    }
}

#[test]
fn a_hundred_thousand_entries_are_one_menu_and_nobody_waits_for_it() {
    let hole = Hole::of(&[("quick.txt", b"quick")]);
    fs::create_dir(hole.path(b"huge")).expect("a folder");
    let mut first = hole.path(b"huge/0.txt");
    fs::write(&first, b"").expect("a file");
    for nth in 1..100_000 {
        // Links to one file are made much faster than files.
        let more = hole.path(format!("huge/{nth}.txt").as_bytes());
        if nth % 20_000 == 0 {
            fs::write(&more, b"").expect("a file");
            first = more;
        } else {
            fs::hard_link(&first, more).expect("a link");
        }
    }
    let mut host = hole.host();
    let large = host.connect();
    host.send(large, b"/huge\r\n");
    assert_eq!(
        ask_at_once(&mut host, "/caps.txt\r\n").lines().next(),
        Some("CAPS")
    );
    assert_eq!(ask_at_once(&mut host, "/quick.txt\r\n"), "quick");
    let menu = answer(&mut host, large);
    let lines = lines(&menu);
    assert_eq!(lines.len(), 100_001);
    assert_eq!(lines[99_999], "099998.txt\t/huge/99998.txt\th.example\t70");
}

/// Without a job, as far as that is possible: what was never looked up is not in memory.
fn ask_at_once(host: &mut FakeHost, request: &str) -> String {
    let peer = host.connect();
    host.send(peer, request.as_bytes());
    if !host.is_finished(peer) {
        let earlier = host.works();
        assert_eq!(earlier, 2, "the answer waits for a job of its own only");
        return answer_of_last_job(host, peer);
    }
    text(host.received(peer))
}

fn answer_of_last_job(host: &mut FakeHost, peer: polyport_plugin::testing::Peer) -> String {
    while !host.is_finished(peer) {
        assert!(host.run_work(), "no job, and no answer");
    }
    text(host.received(peer))
}

#[test]
fn who_does_not_read_gets_everything_later_and_holds_nobody_up() {
    let hole = Hole::of(&[]);
    for nth in 0..3000 {
        hole.put(
            format!("many/a file with a long name, number {nth}.txt").as_bytes(),
            b"",
        );
    }
    let whole = hole.ask("/many\r\n");
    for room in [1024, 64 * 1024] {
        let mut host = hole
            .setup()
            .output_bytes_max(room)
            .start()
            .expect("good settings");
        let stalled = host.connect();
        host.peer_stops_reading(stalled);
        host.send(stalled, b"/many\r\n");
        while host.run_work() {}
        assert!(host.queued(stalled) <= room);
        assert_eq!(ask(&mut host, "/many\r\n"), whole);
        for _ in 0..10 {
            host.peer_reads(stalled, 7777);
        }
        host.peer_reads_on(stalled);
        assert!(host.is_finished(stalled) && host.received(stalled) == whole);
    }
}

#[test]
fn equal_requests_that_wait_are_one_job_and_a_busy_server_says_so() {
    let hole = Hole::of(&[("sub/a", b""), ("other/b", b"")]);
    let mut host = hole.setup().work_max(1).start().expect("good settings");
    let peers: Vec<_> = (0..5).map(|_| host.connect()).collect();
    for peer in &peers {
        host.send(*peer, b"/sub\r\n");
    }
    assert_eq!(host.works(), 1);
    for (request, expected) in [
        ("/other\r\n", "3The server is busy"),
        ("/other\t+\r\n", "--1\r\n2 nobody\r\nThe server is busy"),
        ("GET /other HTTP/1.0\r\n\r\n", "HTTP/1.1 503 "),
    ] {
        let busy = host.connect();
        host.send(busy, request.as_bytes());
        assert!(host.is_finished(busy), "{request:?}");
        assert!(
            text(host.received(busy)).starts_with(expected),
            "{request:?}"
        );
    }
    let gone = peers[0];
    host.peer_vanishes(gone);
    assert!(host.run_work());
    for peer in &peers[1..] {
        assert!(host.is_finished(*peer));
        assert_eq!(names(host.received(*peer)), ["1..", "0a"]);
    }
}

#[test]
fn equal_requests_for_a_file_each_get_it() {
    let hole = Hole::of(&[("unnamed", b"the content")]);
    let mut host = hole
        .setup()
        .set("text", "crlf")
        .start()
        .expect("good settings");
    let peers: Vec<_> = (0..5).map(|_| host.connect()).collect();
    for peer in &peers {
        host.send(*peer, b"/unnamed\r\n");
    }
    while host.run_work() {}
    for peer in peers {
        assert!(host.is_finished(peer));
        assert_eq!(host.received(peer), b"the content");
    }
}
