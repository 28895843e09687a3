//! The chat through the real daemon: two workers, the programs that people have, and one conversation
//! that goes on while the hub and a worker are killed and the configuration is reloaded.

#[path = "../support/mod.rs"]
mod support;

mod person;
mod private;

use std::io::{BufRead, Write};

use nix::sys::signal::Signal;
use person::Person;
use support::daemon::{Daemon, wait_stopped};
use support::meeting::hub_of;
use support::program::{End, Talk, holds, program, talk};

const CONFIG: &str = "[services.chat]
plugin = \"line-chat\"
listen = [\"tcp://127.0.0.1:0\"]
workers = 2
[services.chat.settings]
motd = [\"Welcome.\"]
burst = 1000
";

/// So many people, in whichever workers the kernel chooses.
fn crowd(daemon: &Daemon, count: usize) -> Vec<Person> {
    (0..count)
        .map(|nth| Person::join(daemon, &format!("p{nth}")))
        .collect()
}

#[test]
fn a_conversation_goes_on_in_one_order_though_the_hub_is_killed_and_sessions_are_carried() {
    let daemon = Daemon::start("line-chat-hub", CONFIG);
    let mut people = crowd(&daemon, 6);
    for round in 0..3 {
        for nth in 0..30 {
            for (who, person) in people.iter_mut().enumerate() {
                person.say(&format!("{round} {nth} of {who}"));
            }
            if nth == 15 && round == 0 {
                daemon.signal(hub_of(&daemon, 0), Signal::SIGKILL);
            }
            if nth == 15 && round == 1 {
                let reloaded = daemon.operate(&["restart", "chat"]);
                assert!(reloaded.status.success(), "{reloaded:?}");
            }
        }
        for (who, person) in people.iter_mut().enumerate() {
            let last = (who + 5) % 6;
            let wanted = format!("{round} 29 of {last}");
            person.until_said(&format!("p{last}"), &wanted);
        }
        // Whose last line that was not may still have some to come.
        for (who, person) in people.iter_mut().enumerate() {
            while person.heard().len() < 30 * 5 * (round + 1) {
                person.until(|_| true);
            }
            assert_eq!(
                person.heard().len(),
                150 * (round + 1),
                "p{who}: each line once"
            );
        }
    }
    // One order: each lacks only what it has said itself.
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)] {
        let both = |person: &Person| -> Vec<String> {
            let neither = |line: &&&String| {
                ![a, b]
                    .iter()
                    .any(|who| line.starts_with(&format!("<p{who}>")))
            };
            person
                .heard()
                .iter()
                .filter(neither)
                .map(|line| (**line).clone())
                .collect()
        };
        assert_eq!(both(&people[a]), both(&people[b]));
    }
    for (who, person) in people.iter().enumerate() {
        let lost = person.lines.iter().position(|line| line.contains("lost"));
        let around =
            lost.map(|at| &person.lines[at.saturating_sub(4)..(at + 4).min(person.lines.len())]);
        assert_eq!(around, None, "p{who}: nobody was lost");
    }
    drop(people);
    daemon.finish(&["another one is started".to_owned()]);
}

#[test]
fn a_worker_that_is_killed_takes_its_people_along_and_their_nicks_are_free() {
    let daemon = Daemon::start("line-chat-worker", CONFIG);
    let mut people = crowd(&daemon, 12);
    // Once the last one's coming has gone round, everybody's has.
    for person in &mut people[..11] {
        person.until(|line| line.starts_with("-- p11 joined"));
    }
    let pids = daemon.worker_pids("chat");
    daemon.signal(pids[0], Signal::SIGKILL);
    let mut left: Vec<Person> = Vec::new();
    let mut lost = Vec::new();
    for (nth, person) in people.drain(..).enumerate() {
        let mut stream = person.reader.get_ref();
        let alive = stream.write_all(b"/uptime\n").is_ok();
        let mut person = person;
        let mut line = String::new();
        let mut answered = false;
        while alive && matches!(person.reader.read_line(&mut line), Ok(count) if count > 0) {
            answered |= line.starts_with("up for");
            person
                .lines
                .push(std::mem::take(&mut line).trim_end().to_owned());
            if answered {
                break;
            }
        }
        if answered {
            left.push(person);
        } else {
            lost.push(format!("p{nth}"));
        }
    }
    let Some(witness) = left.first_mut() else {
        // The kernel has given all to that worker.
        return daemon.finish(&["worker".to_owned()]);
    };
    for nick in &lost {
        let wanted = format!("-- {nick} left #lobby (node lost)");
        if !witness.lines.contains(&wanted) {
            witness.until(|line| line == wanted);
        }
    }
    if let Some(nick) = lost.first() {
        drop(Person::join(&daemon, nick));
    }
    drop(left);
    daemon.finish(&["worker".to_owned()]);
}

fn documented_bot(daemon: &Daemon) -> String {
    let manual = include_str!("../../../docs/line-chat.md");
    let begin = manual.find("    #!/bin/bash").expect("a script");
    let end = manual[begin..].find("\n\n").expect("it ends");
    let script = &manual[begin..begin + end];
    script.replace("/7777", &format!("/{}", daemon.address("chat", 0).port()))
}

#[test]
fn the_bot_of_the_manual_answers_who_greets_it_and_no_history() {
    let daemon = Daemon::start("line-chat-bot", CONFIG);
    let mut early = Person::join(&daemon, "early");
    early.say("hello\n/quit");
    while !early.next_or_end().is_empty() {}
    let mut host = Person::join(&daemon, "host");
    let mut bot = program("bash", "bash");
    bot.arg("-c").arg(documented_bot(&daemon));
    let mut bot = bot.spawn().expect("it starts");
    host.until(|line| line.starts_with("-- greeter joined"));
    host.say("hello");
    let answer = host.until(|line| line.starts_with("<greeter>"));
    assert_eq!(answer, "<greeter> hello, host\r\n");
    bot.kill().and_then(|()| bot.wait()).expect("it ends");
    drop((early, host));
    daemon.finish(&[]);
}

#[test]
fn people_come_with_the_programs_they_have() {
    let daemon = Daemon::start("line-chat-programs", CONFIG);
    let address = daemon.address("chat", 0);
    let mut host = Person::join(&daemon, "host");
    for (name, package, arguments) in [
        ("nc", "netcat-openbsd", "-N {host} {port}"),
        ("ncat", "ncat", "{host} {port}"),
        ("socat", "socat", "- TCP:{host}:{port}"),
    ] {
        let mut command = program(name, package);
        let arguments = arguments
            .replace("{host}", &address.ip().to_string())
            .replace("{port}", &address.port().to_string());
        command.args(arguments.split(' '));
        let input = format!("{name}\nhello from {name}\n/quit\n");
        let spoken = Talk {
            prompt: "nick: ",
            input: input.as_bytes(),
            end: End::Daemon,
        };
        let printed = talk(command, &spoken, |_| false);
        assert!(holds(&printed, b"Welcome.\r\nnick: "), "{name}");
        assert!(holds(&printed, b"you are in #lobby (2 here)"), "{name}");
        host.until_said(name, &format!("hello from {name}"));
        host.until(|line| line == format!("-- {name} left #lobby"));
    }
    drop(host);
    daemon.finish(&[]);
}

#[test]
fn telnet_on_a_terminal_hears_on_after_control_c() {
    drop(program("telnet", "telnet"));
    let daemon = Daemon::start("line-chat-telnet", CONFIG);
    let address = daemon.address("chat", 0).to_string();
    let mut command = program("script", "bsdutils");
    command.args([
        "-qc",
        &format!("telnet {}", address.replace(':', " ")),
        "/dev/null",
    ]);
    let spoken = Talk {
        prompt: "nick: ",
        input: b"\x03tel\n/echo on\nheard after the interrupt\n",
        end: End::Test,
    };
    let wanted = b"<tel> heard after the interrupt\r\n";
    let printed = talk(command, &spoken, |printed| holds(printed, wanted));
    assert!(
        holds(&printed, wanted),
        "{}",
        String::from_utf8_lossy(&printed)
    );
    daemon.finish(&[]);
}

#[test]
fn an_operator_may_have_a_password_that_the_configuration_does_not_tell() {
    // Of "correct horse", by the program argon2 with as little work as it takes.
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$H9YweMwoZaKj+u6urw6adAxV6iLhNwQ/DYbynE6J72M";
    let config = format!("{CONFIG}op_passwords = [\"battery staple\", {hash:?}]\n");
    let daemon = Daemon::start("line-chat-op", &config);
    let mut people = crowd(&daemon, 3);
    for (person, password) in people
        .iter_mut()
        .zip(["battery staple", "correct horse", hash])
    {
        // What comes behind it waits until the password was looked at.
        person.say(&format!("/op {password}\n/unban nobody\n/uptime"));
        person.until(|line| line.starts_with("up for"));
    }
    let is_operator = |person: &Person| person.lines.iter().any(|line| line == "done");
    assert!(is_operator(&people[0]) && is_operator(&people[1]));
    assert!(!is_operator(&people[2]), "the hash is no password");
    people[2].say("/op wrong\n/op wrong too");
    let mut rest = String::new();
    let closed = std::io::Read::read_to_string(&mut people[2].reader, &mut rest);
    closed.expect("it is closed in order");
    assert_eq!(rest.matches("no operator's password").count(), 2, "{rest}");
    drop(people);
    daemon.finish(&["wrong password".to_owned()]);
}

#[test]
fn sixty_four_race_for_a_nick_while_the_hub_dies_and_one_has_it() {
    let daemon = Daemon::start("line-chat-race", CONFIG);
    let mut racers: Vec<Person> = (0..64).map(|_| Person::come(&daemon)).collect();
    let nicks = ["bob", "BOB", "Bob"];
    for (nth, racer) in racers.iter_mut().enumerate() {
        racer.say(nicks[nth % 3]);
        if nth == 32 {
            daemon.signal(hub_of(&daemon, 0), Signal::SIGKILL);
        }
    }
    let has_won = |racer: &mut Person| {
        let line = racer.until(|line| line.contains("you are") || line.contains("is taken"));
        line.contains("you are")
    };
    let winners: Vec<bool> = racers.iter_mut().map(has_won).collect();
    assert_eq!(winners.iter().filter(|won| **won).count(), 1, "{winners:?}");
    let winner = winners.iter().position(|won| *won).expect("there is one");
    racers[winner].say("/quit");
    let left = |line: &str| line.is_empty();
    while !left(&racers[winner].next_or_end()) {}
    // The next one that asks has it, though it may have to ask until all workers know.
    let other = &mut racers[(winner + 1) % 64];
    loop {
        other.say("bob");
        if has_won(other) {
            break;
        }
    }
    drop(racers);
    daemon.finish(&["another one is started".to_owned()]);
}

#[test]
fn whoever_comes_in_hears_history_and_the_rest_without_gap_or_repeat_whatever_dies() {
    let daemon = Daemon::start("line-chat-joins", CONFIG);
    let mut speaker = Person::join(&daemon, "s0");
    let mut heard: Vec<Person> = Vec::new();
    const LINES: usize = 240;
    for nth in 0..LINES {
        speaker.say(&format!("line {nth}"));
        if nth % 10 == 5 {
            heard.push(Person::join(&daemon, &format!("j{nth}")));
        }
        if nth == 80 {
            daemon.signal(hub_of(&daemon, 0), Signal::SIGKILL);
        }
        if nth == 160 {
            // All that was said is numbered once it has come back to whoever said it.
            speaker.say("/echo on\nso far");
            speaker.until(|line| line.ends_with("> so far"));
            daemon.signal(daemon.worker_pids("chat")[0], Signal::SIGKILL);
            speaker.say("/uptime");
            let mut line = speaker.next_or_end();
            while !line.is_empty() && !line.starts_with("up for") {
                line = speaker.next_or_end();
            }
            if line.is_empty() {
                speaker = Person::join(&daemon, "s1");
            }
        }
    }
    let mut whole = 0;
    for person in &mut heard {
        let last = format!("line {}", LINES - 1);
        let mut line = person.lines.last().expect("its greeting").clone();
        while !line.is_empty() && !line.ends_with(&last) {
            line = person.next_or_end();
        }
        let number =
            |line: &String| -> Option<usize> { line.split_once("> line ")?.1.parse().ok() };
        let numbers: Vec<usize> = person.lines.iter().filter_map(number).collect();
        let first = numbers.first().copied().unwrap_or(0);
        let expected: Vec<usize> = (first..first + numbers.len()).collect();
        assert_eq!(numbers, expected, "{:?}", person.lines);
        whole += usize::from(!line.is_empty());
    }
    assert!(whole >= 8, "{whole} have come after the last death");
    drop((speaker, heard));
    daemon.finish(&["another one is started".to_owned(), "worker".to_owned()]);
}

/// The hub does not read, and what the worker has for it is more than a socket takes.
#[test]
fn sessions_are_carried_though_the_hub_is_stuck_and_what_they_have_said_comes_later_and_once() {
    const PEOPLE: usize = 4;
    const LINES: usize = 150;
    let config = CONFIG.replace("workers = 2", "workers = 1");
    // So many lines are at hand for whoever reads slowly; of fewer some would be skipped.
    let config = format!("{config}history = 700\n");
    let daemon = Daemon::start("line-chat-stuck", &config);
    let mut people = crowd(&daemon, PEOPLE);
    let before = daemon.worker_pids("chat");
    let hub = hub_of(&daemon, 0);
    daemon.signal(hub, Signal::SIGSTOP);
    wait_stopped(hub);
    let text = "x".repeat(900);
    for (who, person) in people.iter_mut().enumerate() {
        for nth in 0..LINES {
            person.say(&format!("{nth} of {who} {text}"));
        }
        // Behind them, and answered by the worker itself.
        person.say("/motd");
        person.until(|line| line.contains("Welcome."));
    }
    let restarted = daemon.operate(&["restart", "chat"]);
    assert!(restarted.status.success(), "{restarted:?}");
    daemon.wait_for("all where the next worker is", |status| {
        let workers = status["services"]["chat"]["workers"].as_array();
        workers.into_iter().flatten().any(|it| {
            let is_next = it["pid"].as_u64() != Some(u64::from(before[0]));
            is_next && it["connections"] == PEOPLE
        })
    });
    // All read at once, while the hub catches up.
    std::thread::scope(|all| {
        for person in &mut people {
            all.spawn(|| {
                person.say("and on");
                while person.heard().len() < (PEOPLE - 1) * (LINES + 1) {
                    person.until(|_| true);
                }
            });
        }
        daemon.signal(hub, Signal::SIGCONT);
    });
    for (who, person) in people.iter().enumerate() {
        for other in (0..PEOPLE).filter(|other| *other != who) {
            let from = format!("<p{other}> ");
            let all = person
                .lines
                .iter()
                .filter_map(|line| line.strip_prefix(&from));
            // Nobody waited for what came too late: of that, it may be ahead.
            let (on, heard): (Vec<&str>, Vec<&str>) = all.partition(|line| *line == "and on");
            let said = (0..LINES).map(|nth| format!("{nth} of {other} {text}"));
            assert!(heard.into_iter().eq(said), "p{who} of p{other}");
            assert_eq!(on.len(), 1, "p{who} of p{other}");
        }
    }
    drop(people);
    daemon.finish(&[]);
}
