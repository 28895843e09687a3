//! Options and settings, through a plugin's real C table.

use polyport_plugin::Level;
use polyport_plugin::prelude::*;
use polyport_plugin::testing::Setup;

struct Configured {
    lines: Vec<String>,
}

impl Configure for Configured {
    fn new(settings: &Settings, cx: &mut Context) -> Result<Self, String> {
        if settings.integer("number") == 13 {
            return Err("number 13 is unlucky".to_owned());
        }
        assert!(settings.integer("number") != 666, "the beast");
        cx.info(format_args!("made for {}", settings.service()));
        let lines = vec![
            format!(
                "{} {:?}",
                settings.text("word"),
                settings.is_written("word")
            ),
            format!(
                "{} {:?}",
                settings.integer("number"),
                settings.is_written(1)
            ),
            settings.boolean("yes").to_string(),
            format!("{:?}", settings.duration("wait")),
            settings.size(4).to_string(),
            settings.list("names").join("+"),
            format!("{}/{}", settings.worker_index(), settings.worker_count()),
            settings.raw_json().to_owned(),
        ];
        Ok(Configured { lines })
    }

    fn check(settings: &Settings) -> Result<(), String> {
        match settings.text("word") {
            "bad" => Err("a bad word".to_owned()),
            "worse" => panic!("a worse word"),
            _ => Ok(()),
        }
    }
}

impl Protocol for Configured {
    type Session = ();
    const OPTIONS: &'static [Opt] = &[
        Opt::text(c"word", c"A word.")
            .default(c"good")
            .choices(c"good|bad|worse"),
        Opt::integer(c"number", c"A number."),
        Opt::boolean(c"yes", c"Yes or no.").default(c"true"),
        Opt::duration(c"wait", c"How long.")
            .default(c"10s")
            .between(1, 60_000),
        Opt::size(c"room", c"How much.").default(c"64KiB"),
        Opt::list(c"names", c"Who.").default(c"a, b"),
    ];

    fn open(&mut self, cx: &mut Context, session: SessionId, _: &Facts) -> Result {
        cx.write_and_finish(session, self.lines.join("\n").as_bytes())
    }
}

#[test]
fn settings_arrive_typed_with_their_defaults() {
    let setup = Setup::of::<Configured>()
        .set("word", "good")
        .set("number", "-5")
        .worker(1, 4);
    let mut host = setup
        .raw_json("{\"x\":1}")
        .start()
        .expect("the settings are good");
    let peer = host.connect();
    let said = String::from_utf8(host.received(peer).to_vec()).expect("it wrote UTF-8");
    assert_eq!(
        said,
        "good true\n-5 true\ntrue\n10s\n65536\na+b\n1/4\n{\"x\":1}"
    );
    assert_eq!(host.log()[0].level, Level::Info);
    assert_eq!(host.log()[0].text, "made for under-test");
}

#[test]
fn settings_are_refused_with_a_reason() {
    let setup = || Setup::of::<Configured>().set("word", "good");
    for (number, reason) in [
        (Some("13"), "number 13 is unlucky"),
        (Some("666"), "the beast"),
        (Some("1x"), "not a value"),
        (None, "\"number\" is required"),
    ] {
        let setup = number
            .iter()
            .fold(setup(), |setup, number| setup.set("number", number));
        let refusal = setup.start().err().expect("it is refused");
        assert!(refusal.contains(reason), "{refusal}");
    }
    let setup = Setup::of::<Configured>().set("number", "1");
    for (word, reason) in [("bad", "a bad word"), ("worse", "check panicked at")] {
        let refusal = setup
            .clone()
            .set("word", word)
            .check()
            .expect_err("it is refused");
        assert!(refusal.contains(reason), "{refusal}");
    }
    assert_eq!(setup.set("word", "good").check(), Ok(()));
}

#[test]
fn an_option_read_wrongly_is_named() {
    struct Wrong;
    impl Configure for Wrong {
        fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
            match settings.text("what") {
                "name" => settings.text("missing").to_owned(),
                "kind" => settings.size("what").to_string(),
                _ => settings.text(9).to_owned(),
            };
            Ok(Wrong)
        }
    }
    impl Protocol for Wrong {
        type Session = ();
        const OPTIONS: &'static [Opt] = &[Opt::text(c"what", c"What is wrong.")];
    }
    for (what, message) in [
        ("name", "declares no option \"missing\""),
        ("kind", "option \"what\" is declared as Text, not as size"),
        ("index", "declares no option number 9"),
    ] {
        let refusal = Setup::of::<Wrong>()
            .set("what", what)
            .start()
            .err()
            .expect("it panics");
        assert!(
            refusal.contains(message) && refusal.contains("settings.rs:"),
            "{refusal}"
        );
    }
}
