//! One session on a long way, through reloads and upgrades by turns: of the echo, with numbered data both
//! ways without a pause, and two of the chat, one of which says numbered lines to the other.
//!
//! Invariant: every change carries each of them once, and what was under way meanwhile arrives in order,
//! whole and once.

use std::sync::Arc;

use crate::chats::{self, Session};
use crate::load::{Load, WINDOW, rises};
use crate::scene::{carrying, reload, scale, settled};
use crate::support::daemon::{Daemon, Directory};
use crate::support::versions::{another_version, install, install_first, upgrade};

/// Lines that are said before a change, and heard after it.
const LINES: usize = 5;

#[test]
fn a_session_goes_through_reloads_and_upgrades_by_turns_without_a_byte_lost_or_repeated() {
    // Of each kind: 6 and 2, or 100 and 10.
    let (upgrades, reloads_each) = (scale(2, 10), scale(3, 10));
    let config = |nth| carrying(2, nth) + &chats::config(nth);
    let directory = Arc::new(Directory::new("storm-journey"));
    install_first(&directory);
    let daemon = Daemon::start_in(directory, &config(0));
    let echo = Load::begin(daemon.address("echo", 0), 0, 1);
    let mut chat = Numbered::begin(&daemon);
    let mut reloads = 0;
    for version in 0..upgrades {
        for _ in 0..reloads_each {
            reloads += 1;
            chat.says();
            daemon.write_config(&config(reloads));
            reload(&daemon);
            goes_on(&daemon, &echo, &mut chat);
        }
        chat.says();
        install(&daemon, &another_version(version), 0o755);
        upgrade(&daemon);
        goes_on(&daemon, &echo, &mut chat);
        let running = std::fs::read(format!("/proc/{}/exe", daemon.pid())).expect("readable");
        assert!(running.ends_with(format!("version {version}").as_bytes()));
    }
    let (_, long) = echo.end();
    long.is_clean();
    assert_eq!(long.answered(), 1, "it was begun anew");
    let status = settled(&daemon);
    let changes = (reloads + upgrades) as u64;
    for (service, sessions) in [("echo", 1), ("chat", 2)] {
        let totals = &status["services"][service]["totals"];
        assert_eq!(totals["carried_in"], sessions * changes, "{status:#}");
        assert_eq!(
            totals["carry_broken"].as_u64().unwrap_or(0),
            0,
            "{status:#}"
        );
    }
    println!("{reloads} reloads and {upgrades} upgrades");
    drop(chat);
    daemon.finish(&[]);
}

/// Everybody is where the change has brought them to, and is served there.
fn goes_on(daemon: &Daemon, echo: &Load, chat: &mut Numbered) {
    settled(daemon);
    // All that was under way to it has come, and more.
    rises(&echo.long.returned, 4 * WINDOW as u64);
    chat.hears();
}

/// One who says numbered lines in a room, and one who hears them.
struct Numbered {
    speaker: Session,
    hearer: Session,
    said: usize,
    heard: usize,
}

impl Numbered {
    fn begin(daemon: &Daemon) -> Numbered {
        // Two who have the same room.
        let [speaker, hearer] = [50, 100].map(|nth| Session::begin(daemon, nth));
        Numbered {
            speaker,
            hearer,
            said: 0,
            heard: 0,
        }
    }

    fn says(&mut self) {
        for _ in 0..LINES {
            self.speaker.say(&format!("the {}. line\n", self.said));
            self.said += 1;
        }
    }

    fn hears(&mut self) {
        while self.heard < self.said {
            let line = self.hearer.until(|line| line.contains(". line"));
            let expected = format!("the {}. line", self.heard);
            assert!(line.contains(&expected), "{line}, and not {expected}");
            self.heard += 1;
        }
    }
}
