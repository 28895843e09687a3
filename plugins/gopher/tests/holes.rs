//! Maps, forms of answers and settings: what a hole looks like to those who read it.

mod support;

use std::os::unix::fs::{PermissionsExt, chown};

use polyport_plugin::testing::FakeHost;
use support::{Hole, NOT_HERE, ask, lines, names, text};

fn with(hole: &Hole, settings: &[(&str, &str)]) -> FakeHost {
    let setup = settings.iter().fold(hole.setup(), |setup, (option, text)| {
        setup.set(option, text)
    });
    setup.start().expect("the settings are good")
}

fn mapped() -> Hole {
    let hole = Hole::of(&[
        (
            "gophermap",
            b"!My hole\nhello\n# comment\n0A text\tdocs/a.txt\n1Elsewhere\t/\tother.example\t7070\n\
              hSite\tURL:http://x/\n-hidden.txt\n:dat=g\n=part\n%\n~\n*\n0never\t/never\n",
        ),
        ("part", b"from the part\n0in part\t/docs/a.txt\n.\nnot this\n"),
        ("docs/a.txt", b"a"),
        ("docs/gophertag", b"The documents\n"),
        ("hidden.txt", b""),
        ("picture.dat", b""),
        ("b.gophermap", b"between\n"),
        ("program.gophermap", b"#!/bin/sh\necho secret\n"),
        ("phd/index.gph", b"[1|Up|..|server|port]\n[0|B \\| C|b.txt|server|port]\ntext\n"),
        ("phd/b.txt", b"b"),
        ("framed/header.gph", b"before\n"),
        ("framed/footer.gph", b"after\n"),
        ("framed/x.txt", b""),
        ("turned/.reverse", b""),
        ("turned/1.txt", b""),
        ("turned/2.txt", b""),
    ]);
    hole.put(b"loop/gophermap", b"=/loop/again\n");
    hole.put(b"loop/again", b"once\n=again\n=again\n=again\n");
    hole
}

#[test]
fn maps_say_what_their_lines_say() {
    let hole = mapped();
    let menu = lines(&hole.ask("\r\n"));
    for (nth, line) in [
        "iMy hole\tTITLE\terror.host\t1",
        "ihello\t\terror.host\t1",
        "0A text\t/docs/a.txt\th.example\t70",
        "1Elsewhere\t/\tother.example\t7070",
        "hSite\tURL:http://x/\th.example\t70",
        "ifrom the part\t\terror.host\t1",
        "0in part\t/docs/a.txt\th.example\t70",
        "1The documents\t/docs\th.example\t70",
        "1framed\t/framed\th.example\t70",
        "1loop\t/loop\th.example\t70",
        "1phd\t/phd\th.example\t70",
        "1turned\t/turned\th.example\t70",
        "ibetween\t\terror.host\t1",
        "0part\t/part\th.example\t70",
        "gpicture.dat\t/picture.dat\th.example\t70",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(menu.get(nth).map(String::as_str), Some(*line), "{menu:#?}");
    }
    assert_eq!(menu.len(), 15);
    let phd = lines(&hole.ask("/phd\r\n"));
    assert_eq!(phd[1], "0B | C\t/phd/b.txt\th.example\t70");
    assert_eq!(
        names(&hole.ask("/framed\r\n")),
        ["1..", "ibefore", "0x.txt", "iafter"]
    );
    assert_eq!(names(&hole.ask("/turned\r\n")), ["1..", "02.txt", "01.txt"]);
}

#[test]
fn maps_that_include_each_other_end_and_the_log_says_so() {
    let hole = mapped();
    let mut host = hole.host();
    let menu = ask(&mut host, "/loop\r\n");
    let texts = names(&menu);
    assert!(texts.iter().all(|name| name == "ionce"));
    assert_eq!(texts.len(), 1 + 3 + 9 + 27);
    assert!(
        host.log()
            .iter()
            .any(|line| line.text.contains("is not included"))
    );
}

#[test]
fn a_folder_is_listed_once_whatever_its_maps_say() {
    let hole = Hole::of(&[
        ("parts/a.gophermap", b"from the part\n*\nnever read\n"),
        ("parts/b.txt", b"b"),
        ("parts/c.txt", b"c"),
        ("often/gophermap", b"=/often/again\n=/often/again\n*\n"),
        ("often/again", b"*\n"),
        ("often/d.txt", b"d"),
    ]);
    let mut host = hole.host();
    for (request, expected) in [
        (
            "/parts\r\n",
            &["1..", "ifrom the part", "0b.txt", "0c.txt"][..],
        ),
        ("/often\r\n", &["0again", "0d.txt"]),
    ] {
        assert_eq!(names(&ask(&mut host, request)), expected, "{request:?}");
    }
}

#[test]
fn a_map_that_is_a_program_is_not_shown() {
    let hole = mapped();
    let mut host = hole.host();
    assert!(!text(&ask(&mut host, "\r\n")).contains("secret"));
    assert!(
        host.log()
            .iter()
            .any(|line| line.text.contains("is a program"))
    );
    assert_eq!(text(&ask(&mut host, "/program.gophermap\r\n")), NOT_HERE);
}

#[test]
fn text_leaves_in_the_form_that_is_set() {
    let hole = Hole::of(&[
        ("a.txt", b"a\n.b\r\nc"),
        ("empty.txt", b""),
        ("unnamed", b"line\n"),
        ("b.bin", b"\n.\n"),
    ]);
    let long: Vec<u8> = (0..40_000)
        .flat_map(|nth| format!("{nth}\n").into_bytes())
        .collect();
    hole.put(b"long.txt", &long);
    for (form, request, expected) in [
        ("raw", "/a.txt\r\n", "a\n.b\r\nc"),
        ("crlf", "/a.txt\r\n", "a\r\n.b\r\nc"),
        ("rfc1436", "/a.txt\r\n", "a\r\n..b\r\nc\r\n.\r\n"),
        ("rfc1436", "/empty.txt\r\n", ".\r\n"),
        ("rfc1436", "/unnamed\r\n", "line\r\n.\r\n"),
        ("rfc1436", "/b.bin\r\n", "\n.\n"),
        ("raw", "/a.txt\t+\r\n", "+7\r\na\n.b\r\nc"),
        ("crlf", "/a.txt\t+\r\n", "+-2\r\na\r\n.b\r\nc"),
        ("rfc1436", "/a.txt\t+\r\n", "+-1\r\na\r\n..b\r\nc\r\n.\r\n"),
        ("rfc1436", "/b.bin\t+\r\n", "+3\r\n\n.\n"),
    ] {
        let mut host = with(&hole, &[("text", form)]);
        assert_eq!(
            text(&ask(&mut host, request)),
            expected,
            "{form} {request:?}"
        );
    }
    let mut host = with(&hole, &[("text", "crlf")]);
    let sent = ask(&mut host, "/long.txt\r\n");
    assert!(sent == text(&long).replace('\n', "\r\n").into_bytes());
}

#[test]
fn gopher_plus_tells_what_is_known() {
    let hole = Hole::of(&[
        ("a.txt", b"0123456789"),
        ("a.txt.abstract", b"About a.\nIn two lines.\n"),
        ("sub/.abstract", b"About sub.\n"),
    ]);
    let mut host = with(&hole, &[("admin", "Ada <ada@h.example>")]);
    let all = text(&ask(&mut host, "\t$\r\n"));
    let blocks: Vec<&str> = all.split("+INFO: ").collect();
    assert_eq!(blocks[0], "+-1\r\n");
    assert!(blocks[1].starts_with("1sub\t/sub\th.example\t70\t+\r\n+ADMIN:\r\n Admin: Ada <ada"));
    assert!(blocks[1].contains("+ABSTRACT:\r\n About sub.\r\n"));
    assert!(blocks[2].starts_with("0a.txt\t/a.txt\th.example\t70\t+\r\n"));
    assert!(blocks[2].contains("+VIEWS:\r\n text/plain: <0.0k>\r\n"));
    assert!(blocks[2].ends_with("+ABSTRACT:\r\n About a.\r\n In two lines.\r\n.\r\n"));
    let one = text(&ask(&mut host, "/a.txt\t!\r\n"));
    assert_eq!(one, format!("+-1\r\n+INFO: {}", blocks[2]));
    for request in [
        "/a.txt\t+\r\n",
        "/a.txt\t+\t0\r\n",
        // Data would follow, which a file does not ask for.
        "/a.txt\t+\t1\r\n",
        "0/a.txt\t+\t\r\n",
    ] {
        let answer = text(&ask(&mut host, request));
        assert_eq!(answer, "+10\r\n0123456789", "{request:?}");
    }
    assert_eq!(text(&ask(&mut host, "/a.txt\t!\t\r\n")), one);
    assert_eq!(text(&ask(&mut host, "\t$\t\r\n")), all);
    assert!(text(&ask(&mut host, "/sub\t+\r\n")).starts_with("+-1\r\n1..\t"));
    let error = "--1\r\n1 Ada <ada@h.example>\r\nThere is nothing here by that name.\r\n.\r\n";
    assert_eq!(text(&ask(&mut host, "/missing\t!\r\n")), error);
    let mut host = with(&hole, &[("gopher_plus", "off")]);
    assert_eq!(text(&ask(&mut host, "/a.txt\t!\r\n")), "0123456789");
    let mut host = with(&hole, &[("gopher_plus", "advertise")]);
    assert!(text(&ask(&mut host, "\r\n")).contains("\t/a.txt\th.example\t70\t+\r\n"));
}

#[test]
fn browsers_get_pages_with_their_length() {
    let hole = mapped();
    hole.put(b"a&b <c>.txt", b"content");
    let mut host = hole.host();
    for (target, status, media, body) in [
        ("/", 200, "text/html; charset=utf-8", "<h1>My hole</h1>"),
        ("/docs/a.txt", 200, "text/plain; charset=utf-8", "a"),
        (
            "/a%26b%20%3Cc%3E.txt",
            200,
            "text/plain; charset=utf-8",
            "content",
        ),
        ("/missing", 404, "text/html; charset=utf-8", "nothing here"),
        (
            "/../outside",
            404,
            "text/html; charset=utf-8",
            "nothing here",
        ),
        (
            "/search?q=part",
            200,
            "text/html; charset=utf-8",
            "href=\"/part\"",
        ),
        (
            "/caps.txt",
            200,
            "text/plain; charset=utf-8",
            "CapsVersion=1",
        ),
    ] {
        let request = |method: &str| format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = text(&ask(&mut host, request("GET")));
        let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {head}"
        );
        assert!(
            head.contains(&format!("\r\nContent-Type: {media}\r\n")),
            "{target}: {head}"
        );
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())),
            "{head}"
        );
        assert!(
            head.contains("\r\nConnection: close") && page.contains(body),
            "{page}"
        );
        let alone = text(&ask(&mut host, request("HEAD")));
        assert_eq!(alone, format!("{head}\r\n\r\n"), "{target}");
    }
    let page = text(&ask(&mut host, "GET / HTTP/1.1\r\n\r\n"));
    assert!(!page.contains("<script"));
    for request in ["POST / HTTP/1.1\r\n\r\n", "DELETE /docs HTTP/1.0\r\n\r\n"] {
        let answer = text(&ask(&mut host, request));
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET, HEAD\r\n"));
    }
    let mut host = with(&hole, &[("http", "refuse")]);
    assert!(text(&ask(&mut host, "GET / HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 403 "));
    let mut host = with(&hole, &[("http", "off")]);
    assert_eq!(text(&ask(&mut host, "GET / HTTP/1.1\r\n\r\n")), NOT_HERE);
}

#[test]
fn a_search_finds_names_and_texts_and_its_words_are_always_words() {
    let hole = Hole::of(&[
        ("Whale.txt", b"a mammal"),
        ("sea/fish.txt", b"not a WHALE\n"),
        ("sea/.whale", b"whale"),
        ("sea/gophermap", b"whale\n*\n"),
        ("sea/plus", b"one + one"),
    ]);
    hole.link("sea/back", "..");
    let mut host = hole.host();
    let found = |menu: &[u8]| -> Vec<String> {
        lines(menu)
            .into_iter()
            .filter(|line| !line.starts_with('i') && !line.starts_with('7'))
            .map(|line| line.split('\t').nth(1).unwrap_or_default().to_owned())
            .collect()
    };
    for (request, expected) in [
        ("/search\twhale\r\n", &["/Whale.txt", "/sea/fish.txt"][..]),
        ("/search\twhale not\r\n", &["/sea/fish.txt"]),
        ("/search?whale\r\n", &["/Whale.txt", "/sea/fish.txt"]),
        ("/search\t+\r\n", &["/sea/plus"]),
        ("7/search\t+\r\n", &["/sea/plus"]),
        ("/search\tkraken\r\n", &[]),
        ("/search\t\r\n", &[]),
        ("/search\r\n", &[]),
    ] {
        assert_eq!(found(&ask(&mut host, request)), expected, "{request:?}");
    }
    assert!(ask(&mut host, "/search\twhale\t+\r\n").starts_with(b"+-1\r\n"));
    let mut host = with(&hole, &[("search", "")]);
    assert_eq!(text(&ask(&mut host, "/search\twhale\r\n")), NOT_HERE);
}

#[test]
fn a_host_is_chosen_by_address_by_http_and_by_name_but_never_guessed() {
    let hole = Hole::of(&[("main.txt", b"main")]);
    for (path, content) in [
        ("hosts/b.example/b.txt", &b"b"[..]),
        ("hosts/b.example/gophermap", b"0B\t/b.txt\n0B\tb.txt\n"),
        ("hosts/c.example/c.txt", b"c"),
        ("hosts/not a host/x", b""),
    ] {
        let place = hole.root.join(path);
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        std::fs::write(place, content).expect("a file");
    }
    let hosts = hole.root.join("hosts");
    let hosts = hosts.to_str().expect("UTF-8");
    let mut host = with(&hole, &[("hosts", hosts)]);
    for (request, expected) in [
        ("/main.txt\r\n", "main"),
        ("/b.txt\r\n", NOT_HERE),
        ("/b.txt;b.example\r\n", "b"),
        ("/c.txt;C.EXAMPLE\r\n", "c"),
        ("/main.txt;b.example\r\n", NOT_HERE),
        (
            "/;b.example\r\n",
            "0B\t/b.txt;b.example\th.example\t70\r\n0B\t/b.txt;b.example\th.example\t70\r\n.\r\n",
        ),
    ] {
        assert_eq!(text(&ask(&mut host, request)), expected, "{request:?}");
    }
    // There too a plus is what is searched for, and not a word of Gopher+.
    let found = text(&ask(&mut host, "/search;c.example\t+\r\n"));
    assert!(found.starts_with('i') && found.contains(": +\t"), "{found}");
    let page = ask(
        &mut host,
        "GET /b.txt HTTP/1.1\r\nHost: B.example:70\r\n\r\n",
    );
    assert!(text(&page).ends_with("\r\n\r\nb"));
    let mut host = with(
        &hole,
        &[("hosts", hosts), ("hosts_at", "127.0.0.1=c.example")],
    );
    assert_eq!(text(&ask(&mut host, "/c.txt\r\n")), "c");
    assert!(text(&ask(&mut host, "\r\n")).contains("\tc.example\t70\r\n"));
    hole.put(b"gophermap", b"%\n");
    let mut host = with(&hole, &[("hosts", hosts)]);
    assert_eq!(names(&ask(&mut host, "\r\n")), ["1b.example", "1c.example"]);
}

#[test]
fn users_show_what_is_theirs() {
    let hole = Hole::of(&[("gophermap", b"~\n")]);
    let homes = hole.root.join("home");
    for (name, owner, folder_owner) in [
        ("ada", 4711, 4711),
        ("root", 0, 0),
        ("thief", 4712, 4711),
        ("none", 4713, 0),
    ] {
        let space = homes.join(name).join("public_gopher");
        std::fs::create_dir_all(&space).expect("a folder");
        std::fs::write(space.join("me.txt"), name).expect("a file");
        std::fs::set_permissions(&space, PermissionsExt::from_mode(0o755)).expect("ours");
        let given = chown(homes.join(name), Some(owner), None)
            .and_then(|()| chown(&space, Some(folder_owner), None));
        if given.is_err() {
            println!("not root: nobody else's folders can be made here");
            return;
        }
    }
    std::os::unix::fs::symlink("ada", homes.join("link")).expect("a link");
    let mut host = with(&hole, &[("users_home", homes.to_str().expect("UTF-8"))]);
    for (request, expected) in [
        ("/~ada/me.txt\r\n", "ada"),
        ("/~root/me.txt\r\n", NOT_HERE),
        ("/~thief/me.txt\r\n", NOT_HERE),
        ("/~link/me.txt\r\n", NOT_HERE),
        ("/~nobody/\r\n", NOT_HERE),
        ("/~/\r\n", NOT_HERE),
        ("\r\n", "1~ada\t/~ada/\th.example\t70\r\n.\r\n"),
        (
            "/~ada\r\n",
            "1..\t/\th.example\t70\r\n0me.txt\t/~ada/me.txt\th.example\t70\r\n.\r\n",
        ),
    ] {
        assert_eq!(text(&ask(&mut host, request)), expected, "{request:?}");
    }
    let mut host = hole.host();
    assert_eq!(text(&ask(&mut host, "/~ada/me.txt\r\n")), NOT_HERE);
}

#[test]
fn caps_and_robots_come_from_the_settings_unless_they_are_there() {
    let hole = Hole::of(&[("a", b"")]);
    let mut host = with(
        &hole,
        &[
            ("description", "A test"),
            ("tls_port", "7443"),
            ("robots_disallow", "/a, /b/"),
        ],
    );
    for request in ["caps.txt\r\n", "/caps.txt\r\n"] {
        let caps = text(&ask(&mut host, request));
        for line in [
            "CAPS",
            "PathDelimeter=/",
            "PathDelimiter=/",
            "ServerDescription=A test",
            "ServerTLSPort=7443",
        ] {
            assert!(caps.lines().any(|it| it == line), "{caps}");
        }
    }
    for request in ["robots.txt\r\n", "/robots.txt\r\n"] {
        let robots = text(&ask(&mut host, request));
        assert_eq!(robots, "User-agent: *\nDisallow: /a\nDisallow: /b/\n");
    }
    hole.put(b"robots.txt", b"mine");
    assert_eq!(hole.ask("robots.txt\r\n"), b"mine");
}

#[test]
fn a_listing_can_say_more_and_stay_one_line_each() {
    let hole = Hole::of(&[("a.txt", b"0123456789"), ("b/x", b"")]);
    hole.put(
        ["\u{e4}".repeat(100), ".txt".into()].concat().as_bytes(),
        b"",
    );
    hole.age("a.txt");
    let settings = [
        ("dates", "true"),
        ("sizes", "true"),
        ("width", "50"),
        ("sort", "size"),
    ];
    let mut host = with(&hole, &settings);
    let menu = names(&ask(&mut host, "\r\n"));
    assert!(
        menu[1].starts_with("0a.txt ") && menu[1].ends_with("      10 B"),
        "{menu:?}"
    );
    assert!(
        menu.iter().skip(1).all(|name| name.chars().count() == 51),
        "{menu:?}"
    );
    std::fs::set_permissions(hole.path(b"a.txt"), PermissionsExt::from_mode(0o600)).expect("ours");
    let mut host = with(&hole, &[("world_readable", "true")]);
    assert_eq!(text(&ask(&mut host, "/a.txt\r\n")), NOT_HERE);
    assert_eq!(names(&ask(&mut host, "\r\n")).len(), 2);
}

#[test]
fn wrong_settings_are_refused_with_their_name() {
    let hole = Hole::of(&[("file", b"")]);
    let file = hole.path(b"file");
    for (option, value) in [
        ("root", "relative"),
        ("root", "/does/not/exist"),
        ("root", file.to_str().expect("UTF-8")),
        ("hosts", "relative"),
        ("hosts_at", "nonsense"),
        ("hosts_at", "127.0.0.1=unknown.example"),
        ("type_of", "md"),
        ("hostname", "two words"),
        ("tag", "a/b"),
        ("sort", "random"),
        ("width", "-1"),
    ] {
        let refusal = hole.setup().set(option, value).start().err();
        assert!(
            refusal.as_ref().is_some_and(|it| it.contains(option)),
            "{option}: {refusal:?}"
        );
    }
}
