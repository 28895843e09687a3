//! Many sessions of the chat through reloads and an upgrade: nobody is disconnected, and each goes on with
//! its nick, rooms, modes, half-typed line and unread input, in the worker where it has come to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::scene::{is_done, resident_kib, scale};
use crate::support::daemon::Daemon;

/// Until the last of very many is answered.
const PATIENCE: Duration = Duration::from_secs(120);
/// One in so many has input that waits for its pace.
const PASTES_EACH: usize = 50;
/// Lines of it: more than may be said at once.
const PASTED: usize = 30;

pub(crate) fn config(nth: usize) -> String {
    // What the number changes is a setting that nobody here notices, so the generation becomes another.
    format!(
        "[services.chat]\nplugin = \"line-chat\"\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 2\n\
         [services.chat.limits]\nconnections = 20000\n\
         [services.chat.settings]\nlogin = \"{}s\"\nburst = 25\nrate = 50\n",
        100 + nth
    )
}

pub(crate) struct Session {
    nth: usize,
    reader: BufReader<TcpStream>,
}

impl Session {
    pub(crate) fn begin(daemon: &Daemon, nth: usize) -> Session {
        let stream = TcpStream::connect(daemon.address("chat", 0)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut session = Session {
            nth,
            reader: BufReader::new(stream),
        };
        session.say(&format!("p{nth}\n"));
        session.until(|line| line.contains("you are in #lobby"));
        session.say(&format!("/join den{}\n", nth % 50));
        session.until(|line| line.contains(&format!("you are in #den{}", nth % 50)));
        session.say(&format!("/ignore q{nth}\n/quiet on\n"));
        session.until(|line| line == "quiet is on");
        if nth.is_multiple_of(4) {
            session.say(&format!("/away tea {nth}\n"));
            session.until(|line| line == "you are away");
        }
        if nth.is_multiple_of(3) {
            session.say("/mode json\n");
            session.until(|line| line.contains("mode is json"));
        } else if nth % 3 == 1 {
            session.say("/color on\n");
            session.until(|line| line == "color is on");
        }
        session
    }

    pub(crate) fn say(&self, text: &str) {
        let mut stream = self.reader.get_ref();
        stream.write_all(text.as_bytes()).expect("it is open");
    }

    pub(crate) fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line);
            let is_read = matches!(read, Ok(count) if count > 0);
            assert!(is_read, "p{}: {read:?}", self.nth);
            let line = line.trim_end();
            assert!(!line.contains("skipped"), "p{}: {line}", self.nth);
            if wanted(line) {
                return line.to_owned();
            }
        }
    }

    /// What the rest of the session is to find done.
    fn leave_half(&self) {
        if self.nth.is_multiple_of(PASTES_EACH) {
            self.say(&"/uptime\n".repeat(PASTED));
        }
        self.say("/who");
    }

    fn finds_all(&mut self) {
        let nth = self.nth;
        self.say(&format!("is p{nth}\n/ignore\n/quiet\n/quiet\n"));
        if nth.is_multiple_of(PASTES_EACH) {
            for _ in 0..PASTED {
                self.until(|line| line.contains("up for "));
            }
        }
        let away = match nth.is_multiple_of(4) {
            true => format!(", away: tea {nth}"),
            false => String::new(),
        };
        let whois = self.until(|line| line.contains(&format!("p{nth}: here for ")));
        let place = format!(", in #lobby #den{}{away}", nth % 50);
        let is_object = whois.starts_with('{');
        assert_eq!(is_object, nth.is_multiple_of(3), "{whois}");
        let end = if is_object { "\"," } else { "" };
        let is_whole = whois.contains(&format!("{place}{end}"));
        assert!(
            is_whole && (is_object || whois.ends_with(&place)),
            "{whois}"
        );
        self.until(|line| line.contains(&format!("you ignore q{nth}")));
        self.until(|line| line.contains("quiet is off"));
        self.until(|line| line.contains("quiet is on"));
    }

    /// Of the room that is its current one, to one who is in it as well.
    fn says_to(&self, other: &mut Session, round: usize) {
        let text = format!("round {round} of {}", self.nth);
        self.say(&format!("{text}\n"));
        let line = other.until(|line| line.contains(&text));
        let is_colored = line.contains('\u{1B}');
        assert_eq!(is_colored, other.nth % 3 == 1, "{line}");
    }
}

#[test]
fn sessions_of_the_chat_go_through_reloads_and_an_upgrade_with_all_that_is_theirs() {
    let (count, reloads) = (scale(100, 10_000), scale(3, 10));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("up to the hard limit");
    let daemon = Daemon::start("storm-chats", &config(0));
    let mut sessions: Vec<Session> = (0..count).map(|nth| Session::begin(&daemon, nth)).collect();
    for round in 1..=reloads + 1 {
        sessions.iter().for_each(Session::leave_half);
        if round > reloads {
            let upgraded = daemon.operate(&["upgrade", "--wait"]);
            assert!(upgraded.status.success(), "{upgraded:?}");
        } else {
            daemon.write_config(&config(round));
            let reply = daemon.ask(r#"{"verb":"reload","wait":true,"dry_run":false}"#);
            is_done(&daemon, &reply);
        }
        sessions.iter_mut().for_each(Session::finds_all);
        let (some, others) = sessions.split_at_mut(50);
        some[round].says_to(&mut others[round], round);
    }
    let status = daemon.status();
    let totals = &status["services"]["chat"]["totals"];
    assert_eq!(
        totals["carry_broken"].as_u64().unwrap_or(0),
        0,
        "{status:#}"
    );
    drop(sessions);
    daemon.finish(&[]);
}

#[test]
fn a_storm_of_joins_lets_everybody_in_once_and_delays_nobody_for_ever() {
    let daemon = Daemon::start("storm-joins", &config(0));
    let mut witness = Session::begin(&daemon, 0);
    for round in 0..scale(1, 10) {
        let come = |nth: usize| {
            let stream = TcpStream::connect(daemon.address("chat", 0)).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            // In pairs that want the same nick, and leave at once.
            let nick = format!("n{round}x{}", nth / 2);
            let words = format!("{nick}\nhi\n/quit\n");
            (&stream).write_all(words.as_bytes()).expect("it is open");
            (nick, stream)
        };
        let crowd: Vec<(String, TcpStream)> = (0..1000).map(come).collect();
        witness.say("/uptime\n");
        witness.until(|line| line.contains("up for "));
        let mut welcome = 0;
        for (nick, mut stream) in crowd {
            let mut shown = String::new();
            // Whoever has lost the race is asked again, and says nothing but `hi` and `/quit`.
            let read = stream.read_to_string(&mut shown);
            assert!(read.is_ok(), "{nick}: {read:?} after {shown:?}");
            let is_in = shown.contains(&format!("you are {nick};"));
            assert!(
                is_in || shown.contains(&format!("{nick} is taken")),
                "{shown:?}"
            );
            welcome += usize::from(is_in);
        }
        assert!(welcome >= 500, "{welcome} of 500 nicks");
        // Its own rows are objects: it is in JSON.
        loop {
            witness.say("/rooms\n");
            if witness
                .until(|line| line.contains("#lobby "))
                .contains("    1\"")
            {
                break;
            }
        }
    }
    drop(witness);
    daemon.finish(&[]);
}

#[test]
fn a_line_without_end_costs_no_memory_and_delays_nobody() {
    const PIECE: usize = 1 << 20;
    let pieces = scale(2, 1024);
    let daemon = Daemon::start("storm-line", &config(0));
    let mut witness = Session::begin(&daemon, 0);
    let mut endless = Session::begin(&daemon, 1);
    let workers = || {
        let pids = daemon.worker_pids("chat").into_iter();
        pids.map(resident_kib).sum::<u64>()
    };
    let before = workers();
    for nth in 0..pieces {
        endless.say(&"x".repeat(PIECE));
        if nth.is_multiple_of(8) || nth == 1 {
            witness.say("/uptime\n");
            witness.until(|line| line.contains("up for "));
        }
    }
    let more = workers().saturating_sub(before);
    assert!(more < 2048, "{more} KiB more for {pieces} MiB");
    endless.say("\n/uptime\n");
    endless
        .until(|line| line.contains("that line is longer than 1024 characters, and was not said"));
    endless.until(|line| line.contains("up for "));
    drop((witness, endless));
    daemon.finish(&[]);
}
