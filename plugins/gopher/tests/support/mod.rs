//! A hole on a real disk, and conversations with it through the fake host.
#![allow(dead_code, reason = "each test program uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use polyport_gopher::Gopher;
use polyport_plugin::testing::{FakeHost, Peer, Setup};

const LONG_AGO: Duration = Duration::from_secs(1_000_000_000);
/// Longer than what has just changed is not kept.
const A_WHILE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder that is gone when the test is over.
pub(crate) struct Hole {
    pub(crate) root: PathBuf,
}

impl Hole {
    /// Each file is a path and its content; a path that ends with a slash is a folder.
    pub(crate) fn of(files: &[(&str, &[u8])]) -> Hole {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hole-{}-{nth}", std::process::id());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(root.join("root")).expect("a new folder");
        let hole = Hole { root };
        for (path, content) in files {
            hole.put(path.as_bytes(), content);
        }
        hole
    }

    pub(crate) fn path(&self, path: &[u8]) -> PathBuf {
        self.root.join("root").join(OsStr::from_bytes(path))
    }

    pub(crate) fn put(&self, path: &[u8], content: &[u8]) {
        let place = self.path(path);
        let folder = if path.ends_with(b"/") {
            &place
        } else {
            place.parent().expect("below the root")
        };
        fs::create_dir_all(folder).expect("a folder");
        if !path.ends_with(b"/") {
            fs::write(&place, content).expect("a file");
        }
    }

    pub(crate) fn link(&self, path: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.path(path.as_bytes())).expect("a link");
    }

    pub(crate) fn fifo(&self, path: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.path(path.as_bytes());
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO");
    }

    /// Modified at a moment long ago, and returns once its last change, which is this, is one of a while
    /// ago, so that what is made of it is kept.
    pub(crate) fn age(&self, path: &str) {
        let file = fs::File::open(self.path(path.as_bytes())).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO)
            .expect("it is ours");
        let facts = file.metadata().expect("it is open");
        let changed = Duration::new(facts.ctime() as u64, facts.ctime_nsec() as u32);
        let is_settled_at = SystemTime::UNIX_EPOCH + changed + A_WHILE;
        let (_silent, nobody) = channel::<()>();
        let begun = Instant::now();
        while let Ok(left) = is_settled_at.duration_since(SystemTime::now()) {
            assert!(begun.elapsed() < PATIENCE, "the clock goes back");
            let _ = nobody.recv_timeout(left);
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        let root = self.root.join("root");
        Setup::of::<Gopher>()
            .set("root", root.to_str().expect("UTF-8"))
            .set("hostname", "h.example")
            .set("port", "70")
    }

    pub(crate) fn host(&self) -> FakeHost {
        self.setup().start().expect("the settings are good")
    }

    /// What a new peer gets, with the default settings.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        ask(&mut self.host(), request)
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What a new peer gets before the end, which has to come in order.
pub(crate) fn ask(host: &mut FakeHost, request: impl AsRef<[u8]>) -> Vec<u8> {
    let peer = host.connect();
    host.send(peer, request.as_ref());
    answer(host, peer)
}

pub(crate) fn answer(host: &mut FakeHost, peer: Peer) -> Vec<u8> {
    while host.run_work() {}
    assert!(
        host.is_finished(peer),
        "no end after the answer\n{}",
        host.transcript()
    );
    host.received(peer).to_vec()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The menu's lines without their end, each of four fields.
pub(crate) fn lines(menu: &[u8]) -> Vec<String> {
    let menu = text(menu);
    let menu = menu
        .strip_suffix(".\r\n")
        .unwrap_or_else(|| panic!("no end: {menu:?}"));
    let lines: Vec<String> = menu.split_terminator("\r\n").map(str::to_owned).collect();
    for line in &lines {
        assert_eq!(line.split('\t').count(), 4, "{line:?}");
    }
    lines
}

/// Letter and name of each line.
pub(crate) fn names(menu: &[u8]) -> Vec<String> {
    lines(menu)
        .iter()
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect()
}

pub(crate) const NOT_HERE: &str = "3There is nothing here by that name.\t\terror.host\t1\r\n.\r\n";

pub(crate) fn with(hole: &Hole, settings: &[(&str, &str)]) -> FakeHost {
    let setup = settings.iter().fold(hole.setup(), |setup, (option, text)| {
        setup.set(option, text)
    });
    setup.start().expect("the settings are good")
}

/// A hole with maps of both dialects.
pub(crate) fn mapped() -> Hole {
    let hole = Hole::of(&[
    (
        "gophermap",
        b"!My hole\nhello\n# comment\n0A text\tdocs/a.txt\n1Elsewhere\t/\tother.example\t7070\n\
          hSite\tURL:http://x/\n-hidden.txt\n:dat=g\n=part\n%\n~\n*\n0never\t/never\n",
    ),
    ("part", b"from the part\n0in part\t/docs/a.txt\n.\nnot this\n"),
    ("docs/a.txt", b"a"),
    ("docs/gophertag", b"The documents\n"),
    ("hidden.txt", b""),
    ("picture.dat", b""),
    ("b.gophermap", b"between\n"),
    ("program.gophermap", b"#!/bin/sh\necho secret\n"),
    ("phd/index.gph", b"[1|Up|..|server|port]\n[0|B \\| C|b.txt|server|port]\ntext\n"),
    ("phd/b.txt", b"b"),
    ("framed/header.gph", b"before\n"),
    ("framed/footer.gph", b"after\n"),
    ("framed/x.txt", b""),
    ("turned/.reverse", b""),
    ("turned/1.txt", b""),
    ("turned/2.txt", b""),
]);
    hole.put(b"loop/gophermap", b"=/loop/again\n");
    hole.put(b"loop/again", b"once\n=again\n=again\n=again\n");
    hole
}
