//! Private lines by thousands while all workers are replaced: each is shown once, or its writer is told.
//!
//! Which ways a single one may take is shown without a daemon, in the tests of the plugin.

use std::collections::BTreeSet;

use crate::support::daemon::Daemon;
use crate::{CONFIG, crowd, support};

/// Of how many private lines somebody is told that they were not heard, or may not have been.
fn words(line: &str) -> usize {
    if let Some(count) = line.strip_suffix(" of your private lines may not have been heard") {
        let count = count.trim_start_matches("-- ").parse();
        return count.expect("a number");
    }
    let is_word = line.contains("may not have heard you") || line.contains("not delivered:");
    usize::from(is_word)
}

#[test]
fn private_lines_are_not_lost_while_sessions_are_carried() {
    const LINES: usize = 400;
    let daemon = Daemon::start("line-chat-private", &CONFIG.replace("1000", "10000"));
    let mut people = crowd(&daemon, 6);
    for round in 0..3 {
        std::thread::scope(|all| {
            let restarting = all.spawn(|| daemon.operate(&["restart", "chat"]));
            for nth in 0..LINES {
                for (who, person) in people.iter_mut().enumerate() {
                    person.say(&format!("/msg p{} {round} {nth} of {who}", (who + 1) % 6));
                }
            }
            let restarted = restarting.join().expect("it does not panic");
            assert!(restarted.status.success());
        });
        for who in 0..6 {
            let hearer = (who + 1) % 6;
            loop {
                for person in [who, hearer] {
                    people[person].say("/uptime");
                    people[person].until(|line| line.starts_with("up for"));
                }
                let lines = &people[hearer].lines;
                let end = format!(" of {who}");
                let heard = lines.iter().filter(|line| line.ends_with(&end));
                let once: BTreeSet<&String> = heard.clone().collect();
                assert_eq!(heard.count(), once.len(), "p{hearer}: each once");
                let told: usize = people[who].lines.iter().map(|line| words(line)).sum();
                if once.len() + told >= LINES * (round + 1) {
                    break;
                }
                support::looking::again();
            }
        }
    }
    let lines = people.iter().flat_map(|person| &person.lines);
    let told: usize = lines.map(|line| words(line)).sum();
    assert!(told < 3 * 6 * LINES / 2, "{told} were told of");
    drop(people);
    daemon.finish(&[]);
}
