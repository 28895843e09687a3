//! `polyport dev` as an author meets it: a new plugin served, its source changed, broken, and made to
//! crash, with the answers of the port and the words in the terminal as the witnesses.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::daemon::{Directory, PATIENCE, polyport, run_to_end};

#[test]
fn what_an_author_saves_is_served_if_it_can_be() {
    let place = Directory::new("dev");
    let mut begin = polyport();
    begin.args(["new-plugin", "mine", "--lang", "c"]);
    begin.current_dir(place.path());
    assert!(run_to_end(begin).status.success());
    let source = place.path().join("mine/mine.c");
    let first = fs::read_to_string(&source).expect("it was made");
    let mut author = Author::at(&place.path().join("mine"));

    let address = author.learns_where();
    let address = address.as_str();
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. Bye.\r\n");

    // Another answer, for whoever comes from now on.
    let second = first.replace("lines. Bye.", "lines. See you.");
    fs::write(&source, &second).expect("saved");
    author.sees_the_old_one_go();
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. See you.\r\n");

    // What is no C leaves the old one serving.
    fs::write(&source, format!("{second}\nthis is no C")).expect("saved");
    author.sees("error:");
    author.sees("what served before serves on");
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. See you.\r\n");

    // A crash is told with the callback that it happened in.
    let third = second.replace("api->write(host, id, answer, count, 0)", "(abort(), PP_OK)");
    assert_ne!(third, second);
    fs::write(&source, third).expect("saved");
    author.sees_the_old_one_go();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"one\n").expect("sent");
    author.sees("blamed      mine 0.1.0 in feed");
    author.sees("Registers:");

    fs::write(&source, first).expect("saved");
    author.sees_the_old_one_go();
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. Bye.\r\n");
    author.leaves(address);
}

/// The second build is one of the package alone: what it depends on was built.
#[test]
fn a_package_in_rust_is_built_again_when_its_source_changes() {
    let place = Directory::new("dev-rust");
    let mut begin = polyport();
    begin.args(["new-plugin", "mine", "--lang", "rust"]);
    begin.current_dir(place.path());
    assert!(run_to_end(begin).status.success());
    let source = place.path().join("mine/src/lib.rs");
    let first = fs::read_to_string(&source).expect("it was made");
    let mut author = Author::at(&place.path().join("mine"));
    author.patience = COMPILING;

    let address = author.learns_where();
    let address = address.as_str();
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. Bye.\r\n");

    let second = first.replace("lines. Bye.", "lines. See you.");
    assert_ne!(second, first);
    fs::write(&source, &second).expect("saved");
    author.sees_the_old_one_go();
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. See you.\r\n");

    // What rustc does not take is shown as it says it.
    fs::write(&source, format!("{second}\nthis is no Rust")).expect("saved");
    author.sees("error: expected one of");
    author.sees("what served before serves on");
    assert_eq!(converse(address), "Good day\r\nONE\n1 lines. See you.\r\n");
    author.leaves(address);
}

#[test]
fn a_folder_without_a_plugin_is_refused_with_the_remedy() {
    let place = Directory::new("dev-nothing");
    for folder in [".", "nowhere"] {
        let mut dev = polyport();
        dev.args(["dev", folder]).current_dir(place.path());
        let output = run_to_end(dev);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("`polyport new-plugin NAME`"), "{text}");
    }
}

/// A compiler takes the time that it takes, on a machine that does something else as well.
const COMPILING: Duration = Duration::from_secs(300);

/// Who has started `polyport dev` and reads the terminal.
struct Author {
    dev: Child,
    lines: Receiver<String>,
    read: Vec<String>,
    patience: Duration,
}

impl Author {
    fn at(folder: &Path) -> Author {
        let mut command = polyport();
        command
            .args(["dev", "--set", "greeting=Good day"])
            .arg(folder);
        let command = command.stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut dev = command.spawn().expect("the binary under test");
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(dev.stdout.take().expect("piped")),
            Box::new(dev.stderr.take().expect("piped")),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Author {
            dev,
            lines,
            read: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// The next line with these words.
    fn sees(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(self.patience) else {
                let read = self.read.join("\n");
                panic!("no line with {words:?} in:\n{read}");
            };
            self.read.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Where it is served.
    fn learns_where(&mut self) -> String {
        let line = self.sees("tcp://127.0.0.1:");
        let address = line.split("tcp://").nth(1).expect("a URL");
        let address = address.split_whitespace().next().expect("an address");
        self.sees("look at it with");
        address.to_owned()
    }

    /// Until then it still takes connections now and then, as on any reload.
    fn sees_the_old_one_go(&mut self) {
        self.sees("mine: all workers have ended");
    }

    /// All that was started ends: the terminal is left by every process, and the port is free.
    fn leaves(mut self, address: &str) {
        kill(Pid::from_raw(self.dev.id() as i32), Signal::SIGINT).expect("it is ours");
        let status = self.dev.wait().expect("our child");
        assert_eq!(status.code(), Some(0), "{}", self.read.join("\n"));
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        std::net::TcpListener::bind(address).expect("nobody listens there any more");
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.dev.id() as i32), Signal::SIGTERM);
        let _ = self.dev.wait();
    }
}

fn converse(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let bounded = stream.set_read_timeout(Some(PATIENCE));
    bounded.expect("not zero");
    stream.write_all(b"one\n\n").expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    read.expect("the session ends in order");
    answer
}
