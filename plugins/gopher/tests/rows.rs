//! Where gopher servers differ: the same requests to the same tree, with what is right here.

mod support;

use std::time::Duration;

use polyport_plugin::End;
use polyport_plugin::testing::Split;
use support::{Hole, NOT_HERE, answer, ask, lines, names, text};

fn hole() -> Hole {
    let hole = Hole::of(&[
        ("a.txt", b"a\n.\n..\nz"),
        ("what?.txt", b"question"),
        ("100%.txt", b"percent"),
        ("a b.txt", b"blank"),
        ("latin.txt", b"\xe4\xf6\xfc"),
        ("#hash", b"hash"),
        ("sub/x", b"x"),
        ("0/x", b"zero"),
        (".secret", b"secret"),
        (".git/config", b"secret"),
        ("mapped/gophermap", b"hello\n"),
        ("plain/file.txt", b"1"),
    ]);
    std::fs::write(hole.root.join("outside"), b"outside").expect("a file");
    hole.link("out", "../outside");
    hole.link("absolute", "/etc/passwd");
    hole.link("around", "around");
    hole.link("inside", "sub/x");
    hole.link("nowhere", "missing");
    hole.fifo("fifo");
    std::os::unix::net::UnixListener::bind(hole.path(b"socket")).expect("a socket");
    hole
}

#[test]
fn requests_are_answered_by_what_they_name() {
    let hole = hole();
    for (request, expected) in [
        // Text leaves as it is stored.
        ("/a.txt\r\n", "a\n.\n..\nz"),
        ("a.txt\n", "a\n.\n..\nz"),
        ("//./a.txt\r\n", "a\n.\n..\nz"),
        // Names that look like something else.
        ("/what?.txt\r\n", "question"),
        ("/100%.txt\r\n", "percent"),
        ("/100%25.txt\r\n", "percent"),
        ("/a b.txt\r\n", "blank"),
        ("/a%20b.txt\r\n", "blank"),
        ("/#hash\r\n", "hash"),
        ("/a.txt?words\r\n", "a\n.\n..\nz"),
        ("/a.txt\twords\r\n", "a\n.\n..\nz"),
        // The letter of an item in front; a folder of that name is first.
        ("0/a.txt\r\n", "a\n.\n..\nz"),
        ("0/x\r\n", "zero"),
        ("/inside\r\n", "x"),
        // What is not shown is not there.
        ("/missing.txt\r\n", NOT_HERE),
        ("/missing.gif\r\n", NOT_HERE),
        ("/sub/../a.txt\r\n", NOT_HERE),
        ("/%2e%2e/outside\r\n", NOT_HERE),
        ("..\r\n", NOT_HERE),
        ("/.secret\r\n", NOT_HERE),
        ("/%2esecret\r\n", NOT_HERE),
        ("/.git/config\r\n", NOT_HERE),
        ("/out\r\n", NOT_HERE),
        ("/absolute\r\n", NOT_HERE),
        ("/around\r\n", NOT_HERE),
        ("/nowhere\r\n", NOT_HERE),
        ("/fifo\r\n", NOT_HERE),
        ("/socket\r\n", NOT_HERE),
        ("/mapped/gophermap\r\n", NOT_HERE),
        ("/a.txt/x\r\n", NOT_HERE),
        ("URL:javascript:alert(1)\r\n", NOT_HERE),
        ("URL:gopher://example.org/\r\n", NOT_HERE),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 70\r\n", NOT_HERE),
    ] {
        assert_eq!(text(&hole.ask(request)), expected, "{request:?}");
    }
    assert_eq!(hole.ask("/latin.txt\r\n"), b"\xe4\xf6\xfc");
}

#[test]
fn a_request_is_refused_and_the_end_is_in_order() {
    let hole = hole();
    for (request, reason) in [
        (b"/a.txt\0.gif\r\n".to_vec(), "not understood"),
        (b"/\x1b[2J\r\n".to_vec(), "not understood"),
        (b"/a\rb\r\n".to_vec(), "not understood"),
        ([vec![b'a'; 5000], b"\r\n".to_vec()].concat(), "too long"),
        (vec![b'a'; 100_000], "too long"),
        (
            [b"GET /".to_vec(), vec![b'a'; 100_000]].concat(),
            "too long",
        ),
    ] {
        for split in [Split::Whole, Split::At(1000)] {
            let mut host = hole.setup().split(split).start().expect("good settings");
            let peer = host.connect();
            host.send(peer, &request);
            let answer = answer(&mut host, peer);
            assert_eq!(lines(&answer).len(), 1, "{}", text(&answer));
            assert!(text(&answer).contains(reason) && answer.len() < 256);
            assert!(host.is_finished(peer));
        }
    }
}

#[test]
fn who_speaks_gopher_plus_is_refused_in_it() {
    let hole = hole();
    for (request, reason) in [
        (b"/a.txt\0.gif\t+\r\n".to_vec(), "not understood"),
        (b"/\x1b[2J\t!\r\n".to_vec(), "not understood"),
        ([vec![b'a'; 5000], b"\t+\r\n".to_vec()].concat(), "too long"),
        (
            [vec![b'a'; 5000], b"\twords\t$\r\n".to_vec()].concat(),
            "too long",
        ),
    ] {
        let answer = text(&hole.ask(&request));
        let begins = answer.starts_with("--1\r\n1 nobody\r\n");
        assert!(begins && answer.contains(reason), "{answer}");
        let setup = hole.setup().set("gopher_plus", "off");
        let mut host = setup.start().expect("good settings");
        assert!(ask(&mut host, &request).starts_with(b"3"));
    }
    // On a search it is what is searched for.
    assert!(hole.ask(b"/search\t+\0\r\n").starts_with(b"3"));
}

#[test]
fn a_listing_shows_what_can_be_asked_for_and_nothing_else() {
    let hole = hole();
    let menu = hole.ask("\r\n");
    assert_eq!(
        names(&menu),
        [
            "10",
            "1mapped",
            "1plain",
            "1sub",
            "0#hash",
            "0100%.txt",
            "0a b.txt",
            "0a.txt",
            "0inside",
            "0latin.txt",
            "0what?.txt"
        ]
    );
    for line in lines(&menu).iter().filter(|line| line.starts_with('0')) {
        let selector = line.split('\t').nth(1).expect("four fields");
        let answer = hole.ask(format!("{selector}\r\n"));
        assert_ne!(text(&answer), NOT_HERE, "{line:?}");
    }
    assert!(
        lines(&menu)
            .iter()
            .all(|line| line.ends_with("\th.example\t70"))
    );
    assert_eq!(lines(&hole.ask("/plain\r\n"))[0], "1..\t/\th.example\t70");
}

#[test]
fn the_end_of_the_peers_side_ends_its_line() {
    let hole = hole();
    for request in ["/a b.txt", "/a b.txt\r"] {
        let mut host = hole.host();
        let peer = host.connect();
        host.send(peer, request.as_bytes());
        host.peer_finishes(peer);
        assert_eq!(answer(&mut host, peer), b"blank");
    }
    let mut host = hole.host();
    let peer = host.connect();
    host.peer_finishes(peer);
    assert_eq!(answer(&mut host, peer), b"");
}

#[test]
fn a_slow_or_silent_peer_is_given_up() {
    let hole = hole();
    let mut host = hole.host();
    let (silent, slow, quick) = (host.connect(), host.connect(), host.connect());
    host.send(slow, b"/");
    for _ in 0..3 {
        host.advance(Duration::from_secs(3));
        host.send(slow, b"a");
    }
    host.send(quick, b"/a b.txt\r\n");
    while host.run_work() {}
    assert_eq!((host.end(silent), host.end(slow)), (None, None));
    host.advance(Duration::from_secs(2));
    assert_eq!(host.end(silent), Some(End::Idle));
    assert!(host.is_finished(slow), "{}", host.transcript());
    assert_eq!(host.received(quick), b"blank");
}

#[test]
fn addresses_get_a_page_that_holds_nothing_of_them_unescaped() {
    let hole = hole();
    let request = "URL:http://example.org/\"><script>alert(1)</script>\r\n";
    let page = text(&hole.ask(request));
    assert!(page.contains("http://example.org/&quot;&gt;&lt;script&gt;"));
    assert!(!page.contains("<script"));
    let page = text(&hole.ask("/URL:https://example.org/\r\n"));
    assert!(page.contains("url=https://example.org/\""));
    hole.put(b"URL:http:x", b"a file");
    assert_eq!(hole.ask("/URL:http:x\r\n"), b"a file");
    assert!(text(&hole.ask("/URL:http:y\r\n")).contains("url=http:y\""));
}

#[test]
fn many_files_are_all_listed_and_long_names_too() {
    let hole = Hole::of(&[]);
    for nth in 0..1501 {
        hole.put(format!("many/{nth}.txt").as_bytes(), b"");
    }
    let long = ["\u{e4}".repeat(125), "x".repeat(251)];
    for name in &long {
        hole.put(format!("many/{name}.txt").as_bytes(), b"long");
    }
    let raw: Vec<u8> = (0x80..=0xff).collect();
    hole.put(&[b"many/", &raw[..]].concat(), b"raw");
    // As long as a name can be, in no encoding, in UTF-8 and in Shift JIS.
    let longest: [Vec<u8>; 3] = [
        vec![0xff; 255],
        "\u{20ac}".repeat(85).into_bytes(),
        [0x83, 0x4e, 0x88].repeat(85),
    ];
    for name in &longest {
        hole.put(&[b"many/", &name[..]].concat(), b"longest");
    }
    let menu = hole.ask("/many\r\n");
    assert_eq!(menu.split(|byte| *byte == b'\n').count() - 2, 1 + 1501 + 6);
    for name in &longest {
        assert_eq!(
            hole.ask([b"/many/", &name[..], b"\r\n"].concat()),
            b"longest"
        );
    }
    for name in &long {
        assert_eq!(hole.ask(format!("/many/{name}.txt\r\n")), b"long");
    }
    assert_eq!(hole.ask([b"/many/", &raw[..], b"\r\n"].concat()), b"raw");
}

#[test]
fn names_with_control_bytes_are_one_line_and_found_again() {
    let hole = Hole::of(&[]);
    for name in [&b"a\tb"[..], b"a\r\nb", b"\n.\r\n", b"\x1b[2J", b"%41\x01"] {
        hole.put(name, name);
    }
    let menu = hole.ask("/\r\n");
    let lines = lines(&menu);
    assert_eq!(lines.len(), 5);
    for line in lines {
        let selector = line.split('\t').nth(1).expect("four fields").to_owned();
        let content = hole.ask(format!("{selector}\r\n"));
        assert!(content.iter().any(|byte| *byte < 0x20), "{selector:?}");
    }
}

/// A socket that is closed answers what comes later with a reset, which may cost the peer what is still
/// on its way to it.
#[test]
fn a_long_answer_waits_for_the_peers_end() {
    let hole = Hole::of(&[
        ("short.bin", &[b'x'; 10_000]),
        ("long.bin", &[b'x'; 40_000]),
        ("long.txt", &[b'x'; 40_000]),
        ("many/short.txt", b""),
    ]);
    for nth in 0..400 {
        hole.put(format!("many/{nth}-{}.txt", "x".repeat(20)).as_bytes(), b"");
    }
    for (form, request, waits) in [
        ("raw", "/short.bin\r\n", false),
        ("raw", "/long.bin\r\n", true),
        ("raw", "HEAD /long.bin HTTP/1.0\r\n\r\n", false),
        ("raw", "GET /long.bin HTTP/1.0\r\n\r\n", true),
        ("crlf", "/long.txt\r\n", true),
        ("raw", "/many\r\n", true),
        ("raw", "/missing\r\n", false),
    ] {
        let mut host = hole.setup().set("text", form).start().expect("good");
        let peer = host.connect();
        host.send(peer, request.as_bytes());
        answer(&mut host, peer);
        let is_done = host.transcript().contains("close, done,");
        assert_eq!(is_done, !waits, "{request:?}\n{}", host.transcript());
    }
}

#[test]
fn no_answer_depends_on_how_the_request_is_cut() {
    let hole = hole();
    for request in [
        "/a.txt\r\n",
        "/sub\r\n",
        "GET /a.txt HTTP/1.0\r\nHost: x\r\n\r\n",
        "\t$\r\n",
    ] {
        let whole = hole.ask(request);
        for at in 1..request.len() {
            let mut host = hole.setup().split(Split::At(at)).start().expect("good");
            assert_eq!(ask(&mut host, request), whole, "{request:?} at {at}");
        }
        for refused in 1..4 {
            let mut host = hole.setup().full_at(refused).start().expect("good");
            assert_eq!(
                ask(&mut host, request),
                whole,
                "{request:?}, write {refused}"
            );
        }
    }
}

#[test]
fn devices_are_not_there_and_are_not_opened() {
    let hole = Hole::of(&[]);
    let mut host = hole
        .setup()
        .set("root", "/dev")
        .start()
        .expect("good settings");
    let menu = names(&ask(&mut host, "/\r\n"));
    for device in ["null", "zero", "urandom", "tty", "ptmx"] {
        let request = format!("/{device}\r\n");
        assert_eq!(text(&ask(&mut host, request)), NOT_HERE, "{device}");
        let listed = menu.iter().any(|name| name[1..] == *device);
        assert!(!listed, "{menu:?}");
    }
}

#[test]
fn what_a_peer_has_sent_is_escaped_in_the_log_and_its_words_are_masked() {
    let hole = hole();
    let requests = [
        &b"/\xff\xfe\"\\.txt\r\n"[..],
        b"/search\tmy own \xe4 words\r\n",
        b"/\x1b[2Jgone\r\n",
        b"GET /%1b]0;x HTTP/1.0\r\n\r\n",
    ];
    for (searches, expected) in [
        ("false", "gopher \"/search\" for something: a search"),
        (
            "true",
            "gopher \"/search\" for \"my own \\xe4 words\": a search",
        ),
    ] {
        let setup = hole.setup().set("log_requests", "true");
        let mut host = setup
            .set("log_searches", searches)
            .start()
            .expect("good settings");
        for request in requests {
            ask(&mut host, request);
        }
        let log = host.log();
        let lines: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
        assert!(lines.contains(&expected), "{lines:?}");
        let path = "gopher \"/\\xff\\xfe\\\"\\\\.txt\": it does not exist";
        assert!(lines.contains(&path), "{lines:?}");
        let is_plain = |line: &&&str| line.chars().all(|it| (' '..='~').contains(&it));
        assert_eq!(
            lines.iter().filter(is_plain).count(),
            lines.len(),
            "{lines:?}"
        );
    }
}

#[test]
fn requests_are_counted_by_their_manner() {
    let hole = hole();
    let mut host = hole.host();
    for request in [
        "/a.txt\r\n",
        "/missing.txt\r\n",
        "/\t+\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        ask(&mut host, request);
    }
    for (metric, expected) in [
        ("asked_gopher", 2),
        ("asked_plus", 1),
        ("asked_http", 1),
        ("answered", 4),
        ("refused", 0),
        ("late", 0),
        ("busy", 0),
    ] {
        assert_eq!(host.metric(metric), expected, "{metric}");
    }
}
