//! Maps, forms of answers and settings: what a hole looks like to those who read it.

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, SystemTime};

use support::{Hole, NOT_HERE, ask, lines, mapped, names, text, with};

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
    let mut about = |path: &str| text(&ask(&mut host, format!("{path}\t!\r\n")));
    for (path, line, view) in [
        (
            "/caps.txt",
            "0caps.txt\t/caps.txt\t",
            Some(" text/plain: <"),
        ),
        (
            "/robots.txt",
            "0robots.txt\t/robots.txt\t",
            Some(" text/plain: <0.0k>"),
        ),
        (
            "URL:http://x/",
            "hhttp://x/\tURL:http://x/\t",
            Some(" text/html: <"),
        ),
        ("/search\t", "7Search\t/search\t", None),
    ] {
        let block = about(path);
        let begin = format!("+-1\r\n+INFO: {line}h.example\t70\t+\r\n+ADMIN:\r\n Admin: Ada");
        assert!(
            block.starts_with(&begin) && block.contains("\r\n Mod-Date: "),
            "{block}"
        );
        match view {
            Some(view) => assert!(block.contains(&format!("+VIEWS:\r\n{view}")), "{block}"),
            None => assert!(!block.contains("+VIEWS"), "{block}"),
        }
        assert!(block.ends_with("\r\n.\r\n"), "{block}");
    }
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
        // What is loaded by a file of somebody's is his matter; our own pages load nothing.
        let policy = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; ";
        for (guard, is_there) in [
            (policy, media.starts_with("text/html")),
            ("X-Content-Type-Options: nosniff\r\n", true),
            ("Referrer-Policy: no-referrer", true),
        ] {
            let guarded = head.contains(&format!("\r\n{guard}"));
            assert_eq!(guarded, is_there, "{target}, {guard}: {head}");
        }
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
    // Nobody has much of what he sends sent back.
    let long = "q".repeat(900);
    for request in [
        format!("/search\t{long}\r\n"),
        format!("GET /search?q={long} HTTP/1.0\r\n\r\n"),
    ] {
        let found = text(&ask(&mut host, request));
        assert!(found.contains(&"q".repeat(50)) && !found.contains(&"q".repeat(128)));
    }
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
    for name in ["B.example:70", "b.example.", "b.example.:7070"] {
        let request = format!("GET /b.txt HTTP/1.1\r\nHost: {name}\r\n\r\n");
        assert!(
            text(&ask(&mut host, request)).ends_with("\r\n\r\nb"),
            "{name}"
        );
    }
    let deep = hole.root.join("hosts/c.example/deep");
    std::fs::create_dir(&deep).expect("a folder");
    std::fs::write(deep.join("d.txt"), b"d").expect("a file");
    let page = text(&ask(&mut host, "GET /deep;c.example HTTP/1.0\r\n\r\n"));
    let way = "<a href=\"/;c.example\">h.example</a> / <a href=\"/deep;c.example\">deep</a>";
    assert!(page.contains(way), "{page}");
    assert!(text(&ask(&mut host, "GET /deep%3Bc.example HTTP/1.0\r\n\r\n")).contains("d.txt"));
    let mut host = with(
        &hole,
        &[("hosts", hosts), ("hosts_at", "127.0.0.1=C.Example")],
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
        ("bob", 4714, 4714),
        ("cleo", 4715, 4715),
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
    for (name, days) in [("ada", 2), ("bob", 3), ("cleo", 1)] {
        let space = std::fs::File::open(homes.join(name).join("public_gopher"));
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        space
            .and_then(|it| it.set_modified(changed))
            .expect("it is there");
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
        // The latest first.
        (
            "\r\n",
            "1~bob\t/~bob/\th.example\t70\r\n1~ada\t/~ada/\th.example\t70\r\n\
             1~cleo\t/~cleo/\th.example\t70\r\n.\r\n",
        ),
        (
            "/~ada\r\n",
            "1..\t/\th.example\t70\r\n0me.txt\t/~ada/me.txt\th.example\t70\r\n.\r\n",
        ),
    ] {
        assert_eq!(text(&ask(&mut host, request)), expected, "{request:?}");
    }
    let page = text(&ask(&mut host, "GET /~ada HTTP/1.0\r\n\r\n"));
    assert!(
        page.contains(" / <a href=\"/~ada\">~ada</a></nav>"),
        "{page}"
    );
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
    hole.put(b"caps.txt", b"CAPS of my own");
    for request in ["caps.txt\r\n", "/caps.txt\r\n"] {
        assert_eq!(hole.ask(request), b"CAPS of my own", "{request:?}");
    }
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
    hole.put(b"priv/deep/a.txt", b"for some");
    for (mode, expected) in [(0o755, "for some"), (0o754, NOT_HERE), (0o750, NOT_HERE)] {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(hole.path(b"priv"), mode).expect("ours");
        assert_eq!(text(&ask(&mut host, "/priv/deep/a.txt\r\n")), expected);
    }
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
