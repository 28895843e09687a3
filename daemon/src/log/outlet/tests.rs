//! Targets that do not take what they are given: nobody waits, and what was lost is known.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::Level;

use super::*;
use crate::log::line::Parts;
use crate::plan::LogLevel;

fn plan(target: LogTarget) -> LogPlan {
    LogPlan {
        target,
        facility: Facility::Local3,
        level: LogLevel::Info,
        format: LogFormat::Text,
    }
}

fn parts(message: &str) -> Parts {
    Parts {
        message: message.to_owned(),
        fields: Vec::new(),
    }
}

fn take(outlet: &Outlet, message: &str) -> bool {
    let (level, who, parts) = (Level::INFO, "w", &parts(message));
    outlet.to_opened(&Entry { level, who, parts }, "T")
}

/// Of this test alone; removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let own = std::process::id();
        Place(std::env::temp_dir().join(format!("pp-outlet-{own}-{name}")))
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("our names are UTF-8")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_daemon_that_takes_no_more_costs_the_line_and_no_time() {
    let place = Place::new("full");
    let daemon = UnixDatagram::bind(&place.0).expect("bound");
    let outlet = Outlet::new(
        &plan(LogTarget::Syslog),
        Some(connect(place.text()).expect("it is there")),
    );
    let taken = (0..).take_while(|_| take(&outlet, "a line")).count();
    assert!(taken > 0, "its queue takes some");
    let mut bytes = [0; 512];
    let length = daemon.recv(&mut bytes).expect("the first");
    let expected = format!("<158>polyport[{}]: w: a line", std::process::id());
    assert_eq!(String::from_utf8_lossy(&bytes[..length]), expected);
    assert!(take(&outlet, "there is room again"));
}

#[test]
fn a_daemon_that_is_gone_loses_lines_until_its_successor_is_reached() {
    let place = Place::new("gone");
    let absent = connect(place.text()).expect_err("nobody is there");
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    let outlet = Outlet::new(&plan(LogTarget::Journal), None);
    assert!(!take(&outlet, "to nobody"));
    for _ in 0..2 {
        let daemon = UnixDatagram::bind(&place.0).expect("bound");
        outlet.replace(connect(place.text()).expect("it is there"));
        assert!(take(&outlet, "to the journal"));
        let mut bytes = [0; 512];
        let length = daemon.recv(&mut bytes).expect("taken");
        let text = String::from_utf8_lossy(&bytes[..length]);
        assert!(
            text.starts_with("MESSAGE=w: to the journal\nPRIORITY=6\n"),
            "{text}"
        );
        drop(daemon);
        fs::remove_file(&place.0).expect("was there");
        assert!(!take(&outlet, "to nobody"));
    }
}

#[test]
fn a_pipe_without_a_reader_is_not_waited_for() {
    let place = Place::new("pipe");
    let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
    nix::unistd::mkfifo(&place.0, mode).expect("made");
    let error = open(&plan(LogTarget::File(place.0.clone()))).expect_err("nobody reads");
    assert!(
        error
            .to_string()
            .starts_with("daemon.log.file: cannot open /"),
        "{error}"
    );
}

#[test]
fn a_line_cut_short_does_not_swallow_the_next() {
    let place = Place::new("torn");
    let file = append(&place.0).expect("made");
    let outlet = Outlet::new(&plan(LogTarget::File(place.0.clone())), Some(file));
    assert!(take(&outlet, "whole"));
    outlet.torn.store(true, Relaxed);
    assert!(take(&outlet, "next"));
    assert!(take(&outlet, "last"));
    let text = fs::read_to_string(&place.0).expect("a log");
    assert_eq!(
        text,
        "T info    w: whole\n\nT info    w: next\nT info    w: last\n"
    );
}
