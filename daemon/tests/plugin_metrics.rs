//! What plugins have counted, through upgrades of the daemon in place: no program forgets what the
//! workers of the one before it had come to.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use support::daemon::{Daemon, Directory, OWN_PROGRAM, PATIENCE, family_of};
use support::plugins;

const SAID: &[u8] = b"eleven byte";

/// A copy of the program under test, in whose end the rounds differ.
fn install(directory: &Path, round: u64) {
    let (program, new) = (directory.join(OWN_PROGRAM), directory.join("new"));
    fs::copy(env!("CARGO_BIN_EXE_polyport"), &new).expect("copied");
    let mut file = fs::File::options().append(true).open(&new).expect("ours");
    write!(file, "version {round}").expect("written");
    drop(file);
    fs::rename(new, program).expect("renamed");
}

/// A peer comes, is answered and goes.
fn exchange(daemon: &Daemon) {
    let mut stream = TcpStream::connect(daemon.address("counts", 0)).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(SAID).expect("sent");
    let mut heard = [0; SAID.len()];
    stream.read_exact(&mut heard).expect("an answer");
    assert_eq!(heard, SAID);
}

fn counted(daemon: &Daemon, name: &str) -> Option<u64> {
    let output = daemon.operate(&["metrics"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = format!("polyport_plugin_counts_{name}{{service=\"counts\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&begin));
    value.and_then(|value| value.parse().ok())
}

#[test]
fn what_a_plugin_has_counted_is_carried_from_program_to_program() {
    let directory = Directory::new("upgrade-metrics");
    install(directory.path(), 0);
    let config = plugins::fill_in(
        "[services.counts]\nplugin = \"{fixture counts}\"\nlisten = [\"tcp://127.0.0.1:0\"]\n",
    );
    let daemon = Daemon::start_in(Arc::new(directory), &config);
    for round in 1..=3 {
        exchange(&daemon);
        let before = daemon.worker_pids("counts");
        install(daemon.directory(), round);
        let output = daemon.operate(&["upgrade", "--wait"]);
        assert!(output.status.success(), "{output:?}\n{}", daemon.log());
        let until = Instant::now() + PATIENCE;
        while family_of(daemon.pid())
            .iter()
            .any(|pid| before.contains(pid))
        {
            assert!(Instant::now() < until, "not drained:\n{}", daemon.log());
            support::looking::again();
        }
        let names = ["bytes_seen_total", "sizes_count", "sizes_sum", "open_now"];
        let found = names.map(|name| counted(&daemon, name));
        assert_eq!(found, [11 * round, round, 11 * round, 0].map(Some));
    }
    daemon.finish(&[]);
}
