//! Files through the real daemon: whole and in order, whatever the peer, the file and the limits do.

mod support;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::stat::Mode;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::mkfifo;

use support::daemon::{Daemon, PATIENCE};
use support::script::pattern;

/// A daemon that sends the files of a folder of its own.
struct Scene {
    daemon: Daemon,
    folder: PathBuf,
}

impl Scene {
    fn new(name: &str, limits: &str) -> Scene {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for files");
        let config = format!(
            "[services.sends]\nplugin = \"fixture-sends\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
             workers = 1\nsettings.root = {folder:?}\n{limits}\n"
        );
        let daemon = Daemon::start(&format!("files-{name}"), &config);
        Scene { daemon, folder }
    }

    fn file(&self, name: &str, bytes: usize) -> Vec<u8> {
        let content = pattern(bytes);
        fs::write(self.folder.join(name), &content).expect("the folder is ours");
        content
    }

    fn connect(&self) -> TcpStream {
        let address = self.daemon.address("sends", 0);
        let peer = TcpStream::connect(address).expect("it listens");
        peer.set_read_timeout(Some(PATIENCE)).expect("set");
        peer
    }

    /// All that comes for these orders, to an orderly end.
    fn answer(&self, orders: &str) -> Vec<u8> {
        let mut peer = self.connect();
        peer.write_all(orders.as_bytes()).expect("sent");
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("an orderly end");
        heard
    }

    fn end(self) {
        self.daemon.finish(&[]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A peer that has said so far that it listens, and is heard.
fn round_trip(peer: &mut TcpStream, word: &str) {
    writeln!(peer, "say {word}").expect("sent");
    let mut heard = vec![0; word.len() + 1];
    peer.read_exact(&mut heard).expect("answered");
    assert_eq!(heard, format!("{word}\n").as_bytes());
}

#[test]
fn files_of_every_size_leave_between_the_bytes_around_them() {
    let scene = Scene::new("sizes", "");
    for bytes in [0, 1, 4095, 4096, 16383, 16384, 16385, 102_400, 10 << 20] {
        let content = scene.file("some", bytes);
        let expected = [&b"before\n"[..], &content, b"after\n"].concat();
        for order in ["file", "memory"] {
            let orders = format!("say before\n{order} some 0 {bytes}\nsay after\nclose\n");
            assert!(scene.answer(&orders) == expected, "{order}: {bytes} bytes");
            let orders = format!("{order} some 0 {bytes}\nclose\n");
            assert!(scene.answer(&orders) == content, "{order}: {bytes} alone");
            if bytes > 2 {
                let orders = format!("{order} some 1 {}\nclose\n", bytes - 2);
                let inner = &content[1..bytes - 1];
                assert!(scene.answer(&orders) == inner, "{order}: {bytes} but two");
            }
        }
    }
    scene.end();
}

#[test]
fn many_ranges_wait_for_each_other_and_for_the_bytes_between() {
    let scene = Scene::new("many", "");
    let content = scene.file("some", 100_000);
    let (mut orders, mut expected) = (String::new(), Vec::new());
    for nth in 0..200 {
        let (offset, length) = (nth * 97, 1 + nth * 400);
        orders += &format!("say {nth}\nfile some {offset} {length}\n");
        expected.extend(format!("{nth}\n").bytes());
        expected.extend(&content[offset..offset + length]);
    }
    let heard = scene.answer(&(orders + "close\n"));
    assert!(heard == expected, "{} of {}", heard.len(), expected.len());
    scene.end();
}

#[test]
fn what_is_no_range_of_a_regular_file_is_refused() {
    let scene = Scene::new("refused", "");
    scene.file("some", 100);
    fs::create_dir(scene.folder.join("folder")).expect("the folder is ours");
    for range in ["some 0 101", "some 101 0", "some 50 18446744073709551615"] {
        for order in ["file", "memory"] {
            let heard = scene.answer(&format!("{order} {range}\nclose\n"));
            assert_eq!(heard, b"refused\n", "{order} {range}");
        }
    }
    assert_eq!(scene.answer("file folder 0 1\nclose\n"), b"refused\n");
    scene.end();
}

#[test]
fn a_slow_reader_gets_all_of_it_and_delays_nobody() {
    let scene = Scene::new("slow", "");
    let content = scene.file("large", 10 << 20);
    let (mut slow, mut other) = (scene.connect(), scene.connect());
    setsockopt(&slow, sockopt::RcvBuf, &16_384).expect("it is a socket");
    let orders = format!("file large 0 {}\nsay after\nclose\n", content.len());
    slow.write_all(orders.as_bytes()).expect("sent");
    let mut heard = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        round_trip(&mut other, "meanwhile");
        match slow.read(&mut part).expect("an orderly end") {
            0 => break,
            bytes => heard.extend_from_slice(&part[..bytes]),
        }
    }
    assert!(heard == [&content[..], b"after\n"].concat());
    drop((slow, other));
    scene.end();
}

#[test]
fn a_limit_on_bandwidth_holds_for_files_and_loses_nothing() {
    let scene = Scene::new("bandwidth", "limits.bandwidth = \"2MiB\"");
    let content = scene.file("some", 1 << 20);
    let heard = scene.answer("say a\nfile some 0 1048576\nsay b\nclose\n");
    assert!(heard == [&b"a\n"[..], &content, b"b\n"].concat());
    scene.end();
}

/// What happens to a file after its first bytes have arrived.
fn changed_meanwhile(
    name: &str,
    change: fn(&Path),
) -> (Scene, Vec<u8>, Result<Vec<u8>, ErrorKind>) {
    let scene = Scene::new(name, "");
    let content = scene.file("large", 12 << 20);
    let mut peer = scene.connect();
    setsockopt(&peer, sockopt::RcvBuf, &16_384).expect("it is a socket");
    let orders = format!("file large 0 {}\nsay after\nclose\n", content.len());
    peer.write_all(orders.as_bytes()).expect("sent");
    let mut first = vec![0; 1000];
    peer.read_exact(&mut first).expect("it is being sent");
    change(&scene.folder.join("large"));
    let mut rest = Vec::new();
    let end = peer.read_to_end(&mut rest);
    let heard = [first, rest].concat();
    let answer = end.map(|_| heard).map_err(|error| error.kind());
    (scene, content, answer)
}

#[test]
fn a_file_that_becomes_shorter_resets_its_connection_and_is_counted() {
    let shorten = |path: &Path| {
        let file = File::options().write(true).open(path).expect("it is ours");
        file.set_len(1 << 20).expect("it becomes shorter");
    };
    let (scene, _, answer) = changed_meanwhile("shorter", shorten);
    assert_eq!(answer, Err(ErrorKind::ConnectionReset));
    scene.daemon.wait_log("it became shorter");
    scene.daemon.wait_log("closed: File");
    let status = scene.daemon.wait_for("it is counted", |status| {
        status["services"]["sends"]["totals"]["files_short"] == 1
    });
    assert_eq!(status["services"]["sends"]["totals"]["plugin_faults"], 0);
    scene.end();
}

#[test]
fn a_file_that_grows_is_sent_as_far_as_it_was_promised() {
    let grow = |path: &Path| {
        let mut file = File::options().append(true).open(path).expect("it is ours");
        file.write_all(&[b'+'; 100_000]).expect("it grows");
    };
    let (scene, content, answer) = changed_meanwhile("grows", grow);
    let expected = [&content[..], b"after\n"].concat();
    assert!(answer.expect("an orderly end") == expected);
    scene.end();
}

#[test]
fn a_file_that_vanishes_is_sent_to_its_end() {
    let vanish = |path: &Path| fs::remove_file(path).expect("it is ours");
    let (scene, content, answer) = changed_meanwhile("vanishes", vanish);
    let expected = [&content[..], b"after\n"].concat();
    assert!(answer.expect("an orderly end") == expected);
    scene.end();
}

/// How often a disk may be so quick that nobody has to wait for it.
const TRIES_MAX: usize = 100;

/// Nothing of it is in memory afterwards.
fn forget(path: &Path) {
    let file = File::open(path).expect("it is ours");
    file.sync_all().expect("it is on the disk");
    let forget = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    posix_fadvise(&file, 0, 0, forget).expect("it is a file");
}

/// The one thread that could read is held by a job: the peer of the cold file has to wait, and only
/// that peer.
#[test]
fn a_file_that_is_not_in_memory_holds_nobody_else_up() {
    let scene = Scene::new("cold", "limits.threads = 1");
    // No longer than what is looked for at once: all of it is there, or all of it waits.
    let content = scene.file("large", 512 << 10);
    if statfs(&scene.folder).is_ok_and(|facts| facts.filesystem_type() == TMPFS_MAGIC) {
        // A file system in memory has nothing that is not in memory.
        return scene.end();
    }
    let pipe = scene.folder.join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("the folder is ours");

    let (mut holder, mut cold, mut other) = (scene.connect(), scene.connect(), scene.connect());
    holder.write_all(b"hold pipe\n").expect("sent");
    round_trip(&mut holder, "held");
    // Opened for writing as soon as the thread reads it.
    let mut pipe = File::options().write(true).open(&pipe).expect("it is read");
    let orders = format!("file large 0 {}\nsay after\nclose\n", content.len());
    let mut tries = 0;
    loop {
        forget(&scene.folder.join("large"));
        round_trip(&mut cold, "here");
        cold.write_all(orders.as_bytes()).expect("sent");
        for _ in 0..3 {
            round_trip(&mut other, "meanwhile");
        }
        cold.set_nonblocking(true).expect("set");
        let heard = cold.read(&mut [0]);
        cold.set_nonblocking(false).expect("set");
        let Err(nothing) = heard else {
            // The kernel begins to read what it is asked for, and a quick disk is done by then.
            tries += 1;
            assert!(tries < TRIES_MAX, "the disk is as quick as memory");
            cold.read_to_end(&mut Vec::new()).expect("an orderly end");
            cold = scene.connect();
            continue;
        };
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        break;
    }

    pipe.write_all(b"go on").expect("it is read");
    drop(pipe);
    let mut heard = Vec::new();
    cold.read_to_end(&mut heard).expect("an orderly end");
    assert!(heard == [&content[..], b"after\n"].concat());
    round_trip(&mut other, "still");
    drop((holder, cold, other));
    scene.end();
}
