//! Maps and listings: what a menu says of what somebody has written, and of what is there.

mod support;

use support::{Hole, NOT_HERE, ask, lines, mapped, names, text};

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
    assert_eq!(phd[0], "1Up\t/\th.example\t70");
    assert_eq!(phd[1], "0B | C\t/phd/b.txt\th.example\t70");
    assert_eq!(
        names(&hole.ask("/framed\r\n")),
        ["1..", "ibefore", "0x.txt", "iafter"]
    );
    assert_eq!(names(&hole.ask("/turned\r\n")), ["1..", "02.txt", "01.txt"]);
}

#[test]
fn paths_of_maps_lead_somewhere_and_name_what_the_listing_leaves_out() {
    let hole = Hole::of(&[
        (
            "up/deep/gophermap",
            b"1Up\t..\n1Over\t../../../..\n0Side\tsub/../y\n1Root\t/up/../other/\n",
        ),
        (
            "slashed/gophermap",
            b"1Docs\t/slashed/docs/\n0Text\ta.txt\n*\n",
        ),
        ("slashed/docs/x.txt", b"x"),
        ("slashed/a.txt", b"a"),
        ("slashed/b.txt", b"b"),
    ]);
    let mut host = hole.host();
    let selectors = |menu: &[u8]| -> Vec<String> {
        let fields = lines(menu).into_iter();
        let selectors = fields.map(|line| line.split('\t').nth(1).unwrap_or_default().to_owned());
        selectors.collect()
    };
    let up = ask(&mut host, "/up/deep\r\n");
    assert_eq!(selectors(&up), ["/up", "/", "/up/deep/y", "/other"]);
    let slashed = ask(&mut host, "/slashed\r\n");
    assert_eq!(names(&slashed), ["1Docs", "0Text", "0b.txt"]);
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
fn every_name_that_ends_with_gph_is_a_menu() {
    let hole = Hole::of(&[
        (
            "gph/other.gph",
            b"tthe text\n[0|A|a.txt|server|port]\n[1|Up|..|server|port]\n",
        ),
        ("gph/program.gph", b"#!/bin/sh\necho secret\n"),
        ("gph/a.txt", b"a"),
    ]);
    let mut host = hole.host();
    let menu = "ithe text\t\terror.host\t1\r\n0A\t/gph/a.txt\th.example\t70\r\n\
                1Up\t/\th.example\t70\r\n.\r\n";
    for (request, expected) in [
        ("/gph/other.gph\r\n", menu),
        ("1/gph/other.gph\r\n", menu),
        ("/gph/program.gph\r\n", NOT_HERE),
    ] {
        assert_eq!(text(&ask(&mut host, request)), expected, "{request:?}");
    }
    assert_eq!(
        names(&ask(&mut host, "/gph\r\n")),
        ["1..", "0a.txt", "1other.gph", "1program.gph"]
    );
    let page = text(&ask(&mut host, "GET /gph/other.gph HTTP/1.0\r\n\r\n"));
    assert!(page.contains("<a href=\"/gph/a.txt\">A</a>"), "{page}");
    let about = text(&ask(&mut host, "/gph/other.gph\t!\r\n"));
    assert!(
        about.starts_with("+-1\r\n+INFO: 1other.gph\t/gph/other.gph\t"),
        "{about}"
    );
    assert!(about.contains(" application/gopher-menu: <"), "{about}");
    // Whoever shows its source says so.
    let setup = hole.setup().set("type_of", "gph=0");
    let mut host = setup.start().expect("good settings");
    assert!(ask(&mut host, "/gph/other.gph\r\n").starts_with(b"tthe text\n["));
    let page = text(&ask(&mut host, "GET /gph/other.gph HTTP/1.0\r\n\r\n"));
    assert!(
        page.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"),
        "{page}"
    );
}

#[test]
fn a_map_that_is_too_long_is_told_of() {
    let hole = Hole::of(&[("gophermap", &[b'x'; 4 * 1024 * 1024 + 1]), ("a.txt", b"a")]);
    let mut host = hole.host();
    assert_eq!(names(&ask(&mut host, "\r\n")), ["0a.txt"]);
    let log = host.log();
    let warned = log.iter().any(|line| line.text.contains("too long"));
    assert!(warned, "{log:?}");
}
