//! A small hole on a real disk, one for each thread, and what a peer of it is answered.
//!
//! Invariant: an answer is whole: it ends in order, whatever was asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use polyport_gopher::Gopher;
use polyport_plugin::testing::{FakeHost, Setup};

/// Bytes of a file that a target writes; more of it would tell nothing new.
const FILE_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Ground {
    root: PathBuf,
    /// Made once, since each one lasts as long as the process.
    setup: Setup,
}

impl Ground {
    pub(super) fn new() -> Ground {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = option_env!("CARGO_TARGET_TMPDIR")
            .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp"));
        let root = Path::new(folder).join(format!("ground-{}-{nth}", std::process::id()));
        for (path, content) in [
            ("a/b.txt", "text\n"),
            ("a/b.txt.abstract", "About b.\n"),
            ("a/unnamed", "<html>"),
            ("mapped/gophermap", "hello\n0B\t/a/b.txt\n"),
            ("x/part", "a part\n=part\n"),
            ("x/c.md", "c"),
        ] {
            let place = root.join(path);
            fs::create_dir_all(place.parent().expect("below the root")).expect("a folder");
            fs::write(place, content).expect("a file");
        }
        let setup = Setup::of::<Gopher>()
            .set("root", root.to_str().expect("UTF-8"))
            .set("hostname", "h.example")
            .set("port", "70");
        Ground { root, setup }
    }

    pub(super) fn put(&self, path: &str, content: &[u8]) {
        let content = &content[..content.len().min(FILE_BYTES_MAX)];
        fs::write(self.root.join(path), content).expect("a file");
    }

    pub(super) fn remove(&self, path: &str) {
        let _ = fs::remove_file(self.root.join(path));
    }

    pub(super) fn host(&self) -> FakeHost {
        self.setup.start().expect("the settings are good")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// All that a peer gets who sends this.
pub(super) fn answer(host: &mut FakeHost, request: &[u8]) -> Vec<u8> {
    let peer = host.connect();
    host.send(peer, request);
    while host.run_work() {}
    assert!(host.is_finished(peer), "{}", host.transcript());
    host.received(peer).to_vec()
}

/// Whether it is a menu, each line of which has all its fields.
pub(super) fn assert_is_menu(menu: &[u8], fields: std::ops::RangeInclusive<usize>) {
    let shown = menu.escape_ascii();
    let lines = menu.strip_suffix(b".\r\n");
    let lines = lines.unwrap_or_else(|| panic!("no end: {shown}"));
    if lines.is_empty() {
        return;
    }
    let lines = lines.strip_suffix(b"\r\n").expect("the end of a line");
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.contains(&b'\r'), "{shown}");
        let count = line.split(|byte| *byte == b'\t').count();
        assert!(fields.contains(&count), "{shown}");
    }
}
