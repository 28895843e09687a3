//! One folder, served by Polyport and by the two gopher servers that Debian has, pygopherd and
//! gophernicus: what they answer is compared item by item.
//!
//! `gopher_differences.txt` lists every difference that there is, under the reason for it. One that is not
//! listed fails the test, and so does one that is listed and is not there any more. Nobody but this test
//! speaks with the servers, on loopback, and they end with it.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};

use support::daemon::{Daemon, Directory, PATIENCE};
use support::program::program;

const LISTED: &str = include_str!("gopher_differences.txt");

const REQUESTS: [&str; 32] = [
    "",
    "/",
    "/sub",
    "/sub/",
    "/sub/deep",
    "/mapped",
    "/mapped/gophermap",
    "/odd",
    "/odd/fifo",
    "/odd/around",
    "/empty",
    "/a.txt",
    "a.txt",
    "/dots.txt",
    "/what?.txt",
    "/100%.txt",
    "/a b.txt",
    "/a%20b.txt",
    "/latin.txt",
    "/missing.txt",
    "/missing.gif",
    "/.secret",
    "/.git/config",
    "/out",
    "/inside",
    "/sub/../a.txt",
    "/picture.gif",
    "/data.bin",
    "URL:http://example.org/x",
    "URL:javascript:alert(1)",
    "/a.txt\t+",
    "/a.txt\twords",
];

/// What a server answers to a line.
type Answers = Box<dyn Fn(&str) -> Vec<u8>>;

#[test]
fn all_differences_to_other_servers_are_listed_with_a_reason() {
    let directory = Directory::new("gopher-differences");
    let root = directory.path().join("root");
    fill(&root);
    let ours = ours(&root);
    let theirs: [(&str, Answers); 2] = [
        ("pygopherd", Box::new(pygopherd(&directory, &root))),
        ("gophernicus", Box::new(gophernicus(&root))),
    ];
    let mut found = BTreeSet::new();
    for request in REQUESTS {
        let own = seen(&ask(ours.address("gopher", 0), request), request);
        for (server, ask) in &theirs {
            let other = seen(&ask(request), request);
            let mut differs = |whose: &str, what: &str| {
                found.insert(format!(
                    "{server} | {} | {whose} | {what}",
                    request.escape_debug()
                ));
            };
            own.iter()
                .filter(|line| !other.contains(line))
                .for_each(|line| differs("ours", line));
            other
                .iter()
                .filter(|line| !own.contains(line))
                .for_each(|line| differs("theirs", line));
            let in_both = |of: &[String], others: &[String]| -> Vec<String> {
                let both = of.iter().filter(|line| others.contains(line));
                both.cloned().collect()
            };
            if in_both(&own, &other) != in_both(&other, &own) {
                differs("both", "another order");
            }
        }
    }
    ours.finish(&[]);
    let listed = listed();
    let unlisted: Vec<&String> = found
        .iter()
        .filter(|line| !is_listed(&listed, line))
        .collect();
    assert!(
        unlisted.is_empty(),
        "not in tests/gopher_differences.txt:\n{}",
        unlisted
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
    for line in &listed {
        assert!(
            found.iter().any(|found| matches(line, found)),
            "listed, but there is no such difference: {line}"
        );
    }
}

/// The lines of the list, each of which has to stand below a reason.
fn listed() -> Vec<String> {
    let mut has_reason = false;
    let mut lines = Vec::new();
    for line in LISTED.lines() {
        match line {
            "" => has_reason = false,
            _ if line.starts_with("# ") => has_reason = true,
            _ => {
                assert!(has_reason, "without a reason: {line}");
                lines.push(line.to_owned());
            }
        }
    }
    lines
}

fn is_listed(listed: &[String], found: &str) -> bool {
    listed.iter().any(|line| matches(line, found))
}

/// A request that is listed as `*` is any.
fn matches(listed: &str, found: &str) -> bool {
    let parts = |line: &str| -> Vec<String> { line.splitn(4, " | ").map(str::to_owned).collect() };
    let pairs = parts(listed).into_iter().zip(parts(found));
    pairs
        .into_iter()
        .all(|(listed, found)| listed == found || listed == "*")
}

fn fill(root: &Path) {
    for (path, content) in [
        ("a.txt", &b"one\ntwo\n"[..]),
        ("dots.txt", b"one\n.\n..two\n"),
        ("what?.txt", b"question\n"),
        ("100%.txt", b"percent\n"),
        ("a b.txt", b"blank\n"),
        ("latin.txt", b"\xe4\xf6\xfc\n"),
        ("picture.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
        ("data.bin", b"\x00\x01\x02\r\n\xff"),
        ("paper.pdf", b"%PDF-1.4\n"),
        (".secret", b"secret\n"),
        (".git/config", b"secret\n"),
        ("sub/file10.txt", b"10\n"),
        ("sub/file2.txt", b"2\n"),
        ("sub/deep/y.txt", b"y\n"),
        ("odd/fine.txt", b"fine\n"),
        ("empty/.keep", b""),
        (
            "mapped/gophermap",
            b"A heading\n\n0Here\tfile.txt\n0There\t/a.txt\n1Elsewhere\t/\texample.org\t70\n\
              hOut\tURL:http://example.org/\n",
        ),
        ("mapped/file.txt", b"mapped\n"),
    ] {
        let place = root.join(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("a folder");
        fs::write(place, content).expect("a file");
    }
    fs::write(root.with_file_name("outside"), "outside\n").expect("a file");
    symlink("../outside", root.join("out")).expect("a link");
    symlink("a.txt", root.join("inside")).expect("a link");
    symlink("around", root.join("odd/around")).expect("a link");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
    nix::unistd::mkfifo(&root.join("odd/fifo"), mode).expect("a FIFO");
}

// --- the servers -------------------------------------------------------------------------------

fn ours(root: &Path) -> Daemon {
    support::plugins::folder();
    let config = format!(
        "[services.gopher]\nplugin = \"gopher\"\nworkers = 1\nlisten = [\"tcp://127.0.0.1:0\"]\n\
         [services.gopher.settings]\nroot = \"{}\"\nparent = false\nhostname = \"here.example\"\n",
        root.display()
    );
    Daemon::start("gopher-differences-ours", &config)
}

/// Debian's configuration, with the root, the port and the log of this test.
fn pygopherd(directory: &Directory, root: &Path) -> impl Fn(&str) -> Vec<u8> + use<> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a free port");
    let debian = fs::read_to_string("/etc/pygopherd/pygopherd.conf");
    let debian = debian.expect("the package pygopherd: sudo apt-get install -y pygopherd");
    let lines = debian.lines().map(|line| {
        let (key, _) = line.split_once('=').unwrap_or((line, ""));
        match key.trim() {
            "port" => format!(
                "port = {}\ninterface = 127.0.0.1\nservername = here.example",
                address.port()
            ),
            "root" => format!("root = {}", root.display()),
            "usechroot" => "usechroot = no".to_owned(),
            "detach" => "detach = no".to_owned(),
            "pidfile" => format!("pidfile = {}/pid", directory.path().display()),
            "cachetime" => "cachetime = 0".to_owned(),
            "logmethod" => "logmethod = none".to_owned(),
            "extstrip" => "extstrip = none".to_owned(),
            "setuid" | "setgid" => String::new(),
            _ => line.to_owned(),
        }
    });
    let file = directory.path().join("pygopherd.conf");
    fs::write(&file, lines.map(|line| line + "\n").collect::<String>()).expect("a file");
    let mut command = program("pygopherd", "pygopherd");
    command
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut server = Ended(command.spawn().expect("it runs"));
    // It says nothing when it is ready.
    let until = std::time::Instant::now() + PATIENCE;
    while let Err(error) = TcpStream::connect(address) {
        assert!(error.kind() == ErrorKind::ConnectionRefused && std::time::Instant::now() < until);
        let ended = server.0.try_wait().expect("our child");
        assert!(ended.is_none(), "pygopherd has ended: {ended:?}");
        support::looking::again();
    }
    move |request| {
        let _stays = &server;
        ask(address, request)
    }
}

/// Started for each connection, as inetd does it; without headings, footers, dates and what it would
/// write to the system.
fn gophernicus(root: &Path) -> impl Fn(&str) -> Vec<u8> + use<> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let root = root.display().to_string();
    move |request| {
        let mut peer = TcpStream::connect(address).expect("connected");
        let (socket, _) = listener.accept().expect("ours");
        let mut command = program("gophernicus", "gophernicus");
        let port = address.port().to_string();
        command
            .args(["-h", "here.example", "-p", &port, "-r", &root])
            .args([
                "-nv", "-nx", "-nh", "-nf", "-nd", "-nl", "-ns", "-nm", "-nr", "-np",
            ])
            .stdin(OwnedFd::from(
                socket.try_clone().expect("another descriptor"),
            ))
            .stdout(OwnedFd::from(socket))
            .stderr(Stdio::null());
        let server = Ended(command.spawn().expect("it runs"));
        // Its own copies of the socket are the last ones now.
        drop(command);
        let answer = read(&mut peer, request);
        drop(server);
        answer
    }
}

/// Killed and reaped with its value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut peer = TcpStream::connect(address).expect("connected");
    read(&mut peer, request)
}

fn read(peer: &mut TcpStream, request: &str) -> Vec<u8> {
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.write_all(format!("{request}\r\n").as_bytes())
        .expect("sent");
    let mut answer = Vec::new();
    // A server that resets the connection has said what it has said.
    let _ = peer.read_to_end(&mut answer);
    let _ = peer.shutdown(Shutdown::Both);
    answer
}

// --- what is compared --------------------------------------------------------------------------

/// What a person would see: items, an error, a page, or the bytes.
fn seen(answer: &[u8], request: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(answer).replace("\r\n", "\n");
    let menu = text.strip_suffix(".\n").unwrap_or(&text);
    let items: Option<Vec<String>> = menu.lines().map(item).collect();
    match items {
        _ if answer.is_empty() => vec!["nothing".to_owned()],
        Some(items) if items.iter().any(|item| item.starts_with('3')) => {
            vec!["an error".to_owned()]
        }
        Some(items) if items.is_empty() => vec!["an empty menu".to_owned()],
        Some(items) => items,
        None if text.to_ascii_lowercase().contains("<html") => {
            let to = request.trim_start_matches("URL:");
            vec![format!(
                "a page that {}",
                if text.contains(to) {
                    "links there"
                } else {
                    "does not"
                }
            )]
        }
        None => {
            let start = &answer[..answer.len().min(32)];
            vec![format!("{} bytes: {}", answer.len(), start.escape_ascii())]
        }
    }
}

/// One line of a menu, without what names this server.
fn item(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, selector, host, port, ..] = fields[..] else {
        return None;
    };
    let place = match (host, name.starts_with('i')) {
        (_, true) => String::new(),
        ("here.example", _) => format!(" -> {selector}"),
        _ => format!(" -> {selector} at {host}:{port}"),
    };
    Some(format!("{}{place}", name.trim_end()))
}
