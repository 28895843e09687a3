//! Cases: a file that reads like a conversation, played against the real daemon.
//!
//! Lines that begin with `|` are the configuration; `#` comments; every other line is one step, in
//! order. `NAME: step` is what that peer does. The steps are listed in `Case::step`; a word in
//! quotes is a Rust string with its escapes. Whatever a case does, its daemon must end in order and
//! leave nothing behind.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};

use super::daemon::{Daemon, PATIENCE};
use super::limits;
use super::namespace;
use super::peer::Peer;
use super::plugins;
use super::sockets::{Sockets, expect_option};

struct Case {
    name: String,
    config: String,
    daemon: Option<Daemon>,
    peers: BTreeMap<String, Peer>,
    sockets: Sockets,
    /// Pids noted by `note-pid`.
    noted: BTreeMap<String, u32>,
    expected_errors: Vec<String>,
}

/// Plays `tests/cases/NAME.case`.
pub fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(name);
    let path = path.with_extension("case");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Only root can see which descriptors a worker has.
    if text.lines().any(|line| line.starts_with("descriptors")) && !namespace::is_root() {
        return namespace::play(name);
    }
    let mut case = Case {
        name: name.to_owned(),
        config: String::new(),
        daemon: None,
        peers: BTreeMap::new(),
        sockets: Sockets::new(name),
        noted: BTreeMap::new(),
        expected_errors: Vec::new(),
    };
    let mut steps = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if let Some(config) = line.strip_prefix('|') {
            let config = config.strip_prefix(' ').unwrap_or(config);
            let config = limits::fill_in(&plugins::fill_in(config));
            case.config += &case.sockets.fill_in(&config);
            case.config.push('\n');
        } else if !line.is_empty() && !line.starts_with('#') {
            eprintln!("{name}.case:{number}: {line}");
            let words = words(line).unwrap_or_else(|why| panic!("{name}.case:{number}: {why}"));
            let words: Vec<String> = words
                .iter()
                .map(|w| case.sockets.fill_in(&limits::fill_in(w)))
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            case.step(&words);
            steps += 1;
        }
    }
    assert!(steps > 0, "{name}: a case without a step proves nothing");
    case.peers.clear();
    if let Some(daemon) = case.daemon.take() {
        daemon.finish(&case.expected_errors);
    }
}

fn number_at(status: &serde_json::Value, path: &str) -> Option<u64> {
    let pointer = format!("/{}", path.replace('.', "/"));
    status.pointer(&pointer).and_then(|found| found.as_u64())
}

impl Case {
    fn step(&mut self, words: &[&str]) {
        match words {
            // --- the daemon
            ["start"] => self.daemon = Some(Daemon::start(&self.name, &self.config)),
            ["refuses", code, texts @ ..] => {
                let (found, text) = Daemon::refuse(&self.name, &self.config);
                assert_eq!(found.to_string(), *code, "exit code; it said:\n{text}");
                for part in texts {
                    assert!(text.contains(part), "{part:?} is missing from:\n{text}");
                }
            }
            ["signal", signal, whom @ ..] => {
                let signal: Signal = signal.parse().expect("a signal's name");
                let pid = self.pid(whom);
                self.daemon().signal(pid, signal);
            }
            ["note-pid", name, whom @ ..] => {
                let pid = self.pid(whom);
                self.noted.insert((*name).to_owned(), pid);
            }
            ["same-pid", name, whom @ ..] => {
                assert_eq!(
                    self.pid(whom),
                    self.noted[*name],
                    "the process has been replaced"
                );
            }
            ["other-pid", name, whom @ ..] => {
                assert_ne!(
                    self.pid(whom),
                    self.noted[*name],
                    "the process is still the old one"
                );
            }
            ["ends", code] => {
                let found = self.daemon.as_mut().expect("start comes first").wait();
                assert_eq!(
                    found.to_string(),
                    *code,
                    "exit code:\n{}",
                    self.daemon().log()
                );
            }
            ["restart"] => {
                let daemon = self.daemon.as_mut().expect("start comes first");
                daemon.restart(&self.config);
            }
            // So many more descriptors may that process open.
            ["descriptors", count, whom @ ..] => {
                let count = count.parse().expect("a number");
                limits::leave_descriptors(self.pid(whom), count);
            }
            ["descriptors-none", whom @ ..] => limits::leave_no_descriptor(self.pid(whom)),
            // It waits, and has not run while the supervisor answered: whoever spins never does.
            ["still", whom @ ..] => {
                let pid = self.pid(whom);
                let mut before = None;
                self.daemon().wait_for("the process to be still", |_| {
                    let ran = limits::ran_until_it_waited(pid);
                    ran.is_some() && std::mem::replace(&mut before, ran) == ran
                });
            }
            ["write-state", file, text] => {
                let path = self.daemon().directory().join("state").join(file);
                std::fs::write(path, text).expect("written");
            }
            ["log", text] => drop(self.daemon().wait_log(text)),
            ["no-log", text] => {
                let log = self.daemon().log();
                assert!(!log.contains(text), "{text:?} is in the log:\n{log}");
            }
            ["expect-error", text] => self.expected_errors.push((*text).to_owned()),
            ["status", path, "is", value] => {
                let pointer = format!("/{}", path.replace('.', "/"));
                let value = value.to_string();
                self.daemon()
                    .wait_for(&format!("{path} is {value}"), |status| {
                        status
                            .pointer(&pointer)
                            .is_some_and(|found| match found.as_str() {
                                Some(text) => text == value,
                                None => *found.to_string() == value,
                            })
                    });
            }
            ["status", path, "at-most", value] => {
                let most: u64 = value.parse().expect("a number");
                let status = self.daemon().status();
                let found = number_at(&status, path);
                assert!(found.is_some_and(|n| n <= most), "{path}: {found:?}");
            }
            ["status", path, "at-least", value] => {
                let least: u64 = value.parse().expect("a number");
                self.daemon()
                    .wait_for(&format!("{path} at least {value}"), |status| {
                        number_at(status, path) >= Some(least)
                    });
            }
            ["operate", code, verb, texts @ ..] => {
                let words: Vec<&str> = verb.split_whitespace().collect();
                let output = self.daemon().operate(&words);
                let text =
                    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert_eq!(
                    output.status.code().map(|c| c.to_string()).as_deref(),
                    Some(*code),
                    "{text}"
                );
                for part in texts {
                    assert!(text.contains(part), "{part:?} is missing from:\n{text}");
                }
            }
            // --- sockets from outside
            ["socket", words @ ..] => self.sockets.step(words),
            ["sockopt", service, nth, option, "is", value] => {
                let nth = nth.parse().expect("a number from 0");
                expect_option(self.daemon(), service, nth, option, value);
            }
            // --- a peer
            [name, verb @ ..] if name.ends_with(':') => self.peer(name.trim_end_matches(':'), verb),
            _ => panic!("no such step: {words:?}"),
        }
    }

    fn peer(&mut self, name: &str, words: &[&str]) {
        match words {
            ["connect", service] => self.connect(name, service, 0),
            ["connect", service, nth] => {
                self.connect(name, service, nth.parse().expect("a number from 0"));
            }
            // From another address of the loopback, as if from another host.
            ["connect-from", source, service] => {
                let address = self.daemon().address(service, 0);
                let peer = limits::connect_from(source, address);
                peer.set_read_timeout(Some(PATIENCE)).expect("set");
                peer.set_write_timeout(Some(PATIENCE)).expect("set");
                self.peers.insert(name.to_owned(), Peer::Tcp(peer));
            }
            // A crowd: each says something and hears it, or is refused.
            ["connects", times, "times", service] => {
                for nth in 0..times.parse().expect("a number") {
                    let url = self.daemon().url(service, 0);
                    let mut peer = Peer::connect(&url).expect("connected");
                    // A refused one may be gone before it has spoken.
                    let _ = peer.write_all(b"x");
                    let _ = peer.read(&mut [0]);
                    self.peers.insert(format!("{name}/{nth}"), peer);
                }
            }
            ["connect-refused", service] => {
                let error = Peer::connect(&self.daemon().url(service, 0)).err();
                let kind = error.expect("nobody should listen").kind();
                // Where there was a path, it is gone.
                let gone = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
                assert!(gone.contains(&kind), "{kind}");
            }
            // An IPv4 peer of an endpoint on [::].
            ["connect-ipv4", service, nth] => {
                let url = self
                    .daemon()
                    .url(service, nth.parse().expect("a number from 0"));
                let peer = Peer::connect(&url.replace("[::]", "127.0.0.1")).expect("connected");
                self.peers.insert(name.to_owned(), peer);
            }
            ["connect-ipv4-refused", service, nth] => {
                let url = self
                    .daemon()
                    .url(service, nth.parse().expect("a number from 0"));
                let error = Peer::connect(&url.replace("[::]", "127.0.0.1")).err();
                let kind = error.expect("nobody should listen").kind();
                assert_eq!(kind, ErrorKind::ConnectionRefused);
            }
            ["send", text] => self.on(name).write_all(text.as_bytes()).expect("sent"),
            ["send", text, "times", times] => {
                let bytes = text.repeat(times.parse().expect("a number"));
                self.on(name).write_all(bytes.as_bytes()).expect("sent");
            }
            ["expect", text] => self.expect(name, text.as_bytes()),
            ["expect", text, "times", times] => {
                let bytes = text.repeat(times.parse().expect("a number"));
                self.expect(name, bytes.as_bytes());
            }
            // What the peer's own address is differs from run to run.
            ["expect-own-address", before, after] => {
                let own = self.on(name).local_addr();
                self.expect(name, format!("{before}{own}{after}").as_bytes());
            }
            // All that was sent arrives, however large, while it is still being sent.
            ["echoes", bytes] => {
                let total: usize = bytes.parse().expect("a number");
                let mut writer = self.on(name).try_clone().expect("cloned");
                let sender = std::thread::spawn(move || {
                    let sent = writer.write_all(&pattern(total));
                    sent.and_then(|()| writer.shutdown(Shutdown::Write))
                });
                let mut back = Vec::new();
                self.on(name)
                    .read_to_end(&mut back)
                    .expect("everything back");
                sender.join().expect("joined").expect("everything sent");
                assert!(
                    back == pattern(total),
                    "{} bytes came back, or others",
                    back.len()
                );
            }
            // Says it and hears it until the daemon has had enough.
            ["echoes-until-end", text] => {
                let peer = self.on(name);
                let mut echoed = vec![0; text.len()];
                while peer.write_all(text.as_bytes()).is_ok()
                    && peer.read_exact(&mut echoed).is_ok()
                {
                    assert_eq!(echoed, text.as_bytes());
                }
            }
            // Reads nothing, and says it until the daemon has had enough.
            ["sends-until-lost", text] => {
                let text = text.repeat(1000);
                let peer = self.on(name);
                let error = loop {
                    if let Err(error) = peer.write_all(text.as_bytes()) {
                        break error;
                    }
                };
                let lost = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(lost.contains(&error.kind()), "{error}");
            }
            ["finish"] => self
                .on(name)
                .shutdown(Shutdown::Write)
                .expect("half-closed"),
            ["expect-end"] => {
                let mut rest = Vec::new();
                self.on(name)
                    .read_to_end(&mut rest)
                    .expect("an orderly end");
                assert!(
                    rest.is_empty(),
                    "before the end came {:?}",
                    String::from_utf8_lossy(&rest)
                );
            }
            ["expect-lost"] => {
                let mut rest = Vec::new();
                match self.on(name).read_to_end(&mut rest) {
                    Ok(_) => assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                }
            }
            ["close"] => drop(self.peers.remove(name).expect("connected before")),
            ["reset"] => {
                let peer = self.peers.remove(name).expect("connected before");
                let linger = libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                setsockopt(&peer, sockopt::Linger, &linger).expect("set");
            }
            _ => panic!("no such step of a peer: {words:?}"),
        }
    }

    fn connect(&mut self, name: &str, service: &str, nth: usize) {
        let url = self.daemon().url(service, nth);
        let peer = Peer::connect(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
        self.peers.insert(name.to_owned(), peer);
    }

    fn expect(&mut self, name: &str, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        let mut length = 0;
        while length < found.len() {
            let n = self
                .on(name)
                .read(&mut found[length..])
                .unwrap_or_else(|error| {
                    panic!(
                        "after {:?}: {error}",
                        String::from_utf8_lossy(&found[..length])
                    )
                });
            assert!(
                n > 0,
                "the end came after {:?}",
                String::from_utf8_lossy(&found[..length])
            );
            length += n;
        }
        assert!(
            found == expected,
            "expected {:?}\nbut got  {:?}",
            String::from_utf8_lossy(expected),
            String::from_utf8_lossy(&found)
        );
    }

    fn on(&mut self, name: &str) -> &mut Peer {
        self.peers
            .get_mut(name)
            .unwrap_or_else(|| panic!("{name} is not connected"))
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("start comes first")
    }

    /// "supervisor", or "worker SERVICE [NUMBER]".
    fn pid(&self, whom: &[&str]) -> u32 {
        match whom {
            ["supervisor"] => self.daemon().pid(),
            ["worker", service] => self.daemon().worker_pids(service)[0],
            ["worker", service, number] => {
                let number: usize = number.parse().expect("a number from 1");
                self.daemon().worker_pids(service)[number - 1]
            }
            _ => panic!("nobody is called {whom:?}"),
        }
    }
}

/// Bytes that are wrong wherever they are moved.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

/// Splits at blanks; a word in double quotes may hold blanks and the escapes \n \r \t \0 \\ \" \xNN.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, left) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = left.trim_start();
    }
    Ok(words)
}

fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut word = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((word, &text[at + 1..])),
            '\\' => match characters.next().map(|(_, c)| c) {
                Some('n') => word.push('\n'),
                Some('r') => word.push('\r'),
                Some('t') => word.push('\t'),
                Some('0') => word.push('\0'),
                Some(c @ ('\\' | '"')) => word.push(c),
                Some('x') => {
                    let digits: String = characters.by_ref().take(2).map(|(_, c)| c).collect();
                    let number = u8::from_str_radix(&digits, 16).map_err(|e| e.to_string())?;
                    word.push(number as char);
                }
                other => return Err(format!("an unknown escape: {other:?}")),
            },
            other => word.push(other),
        }
    }
    Err("a quote is not closed".to_owned())
}
