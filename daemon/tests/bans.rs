//! Bans over the life of a daemon: in force in workers that a change has brought, and over by themselves
//! when their time is.
//!
//! What bans and takes back is in the cases `bans` and `access_sensor`.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use support::daemon::{Daemon, PATIENCE};
use support::limits::connect_from;
use support::looking;

fn config(workers: u16, mode: &str) -> String {
    format!(
        "[services.echo]\nplugin = \"echo\"\nworkers = {workers}\n\
         listen = [\"tcp://127.0.0.1:0\"]\nsettings = {{ mode = \"{mode}\" }}\n"
    )
}

/// A peer from there, if it is served.
fn served(daemon: &Daemon, source: &str) -> Option<TcpStream> {
    let mut peer = connect_from(source, daemon.address("echo", 0));
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // Whoever is refused may be gone before it has spoken.
    let _ = peer.write_all(b"a\n");
    let mut heard = [0; 2];
    peer.read_exact(&mut heard).ok()?;
    assert_eq!(heard, *b"a\n");
    Some(peer)
}

/// Carries out a change of what is served; the generation that serves now.
fn change(daemon: &Daemon, config: &str) -> u64 {
    daemon.write_config(config);
    let output = daemon.operate(&["reload", "--wait"]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    let status = daemon.status();
    let generation = &status["services"]["echo"]["workers"][0]["generation"];
    generation.as_u64().expect("a number")
}

fn ban(daemon: &Daemon, source: &str, for_: &str) {
    let output = daemon.operate(&["ban", source, "--for", for_]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_ban_holds_for_the_workers_of_every_later_generation() {
    let daemon = Daemon::start("bans-reload", &config(1, "stream"));
    let mut generation = change(&daemon, &config(1, "line"));
    ban(&daemon, "127.0.0.2", "1h");
    let changes = [config(1, "stream"), config(2, "line"), config(1, "stream")];
    for (nth, config) in changes.iter().enumerate() {
        let next = change(&daemon, config);
        assert!(next > generation, "change {nth} brings new workers");
        generation = next;
        assert!(served(&daemon, "127.0.0.2").is_none(), "after change {nth}");
        // As many as there may be workers, and more.
        for _ in 0..4 {
            assert!(served(&daemon, "127.0.0.1").is_some(), "after change {nth}");
        }
    }
    daemon.finish(&[]);
}

#[test]
fn a_ban_ends_by_itself_in_those_who_heard_of_it_and_in_those_who_came_later() {
    let daemon = Daemon::start("bans-expiry", &config(1, "stream"));
    for reload in [false, true] {
        let mut inside = served(&daemon, "127.0.0.2").expect("nobody is banned");
        ban(&daemon, "127.0.0.2", "2s");
        // It is in force: whoever was in is thrown out.
        assert!(!matches!(inside.read(&mut [0]), Ok(1..)));
        if reload {
            change(&daemon, &config(1, "line"));
        }
        let begun = Instant::now();
        while served(&daemon, "127.0.0.2").is_none() {
            assert!(begun.elapsed() < PATIENCE, "the ban does not end");
            looking::again();
        }
        let listed = daemon.operate(&["bans"]).stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert!(listed.contains("nobody is banned"), "{listed}");
    }
    daemon.finish(&[]);
}
