//! Changes and logs when the machine has nothing left to give: a change is refused and what serves
//! goes on; once there is room again, the next one is made.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::load::Load;
use crate::scene::{carrying, reload, settled};
use crate::support::daemon::{Daemon, Directory};
use crate::support::limits::leave_descriptors;
use crate::support::namespace;
use crate::support::plugins::{folder, smallest};
use crate::support::program::program;

const RELOAD: &str = r#"{"verb":"reload","wait":true,"dry_run":false}"#;

#[test]
fn a_change_without_descriptors_is_refused_and_made_when_there_are_some() {
    let daemon = Daemon::start("storm-descriptors", &carrying(2, 0));
    let load = Load::begin(daemon.address("echo", 0), 1, 1);
    let serving = daemon.worker_pids("echo");
    for left in [1, 2, 4, 6] {
        leave_descriptors(daemon.pid(), left);
        daemon.write_config(&carrying(2, 1));
        let reply = daemon.ask(RELOAD);
        assert_ne!(reply["exit"], 0, "with {left} descriptors left: {reply:#}");
        load.goes_on(5);
        assert_eq!(daemon.worker_pids("echo"), serving, "with {left} left");
    }
    let raised = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string(), "--nofile=1024:"])
        .status();
    assert!(raised.expect("prlimit of util-linux").success());
    reload(&daemon);
    load.goes_on(5);
    let (short, long) = load.end();
    short.is_clean();
    long.is_clean();
    settled(&daemon);
    // "(os error 24)" in the middle of a warning.
    let expected = ["nothing was changed", "old plugin files stay in the store"];
    daemon.finish(&expected.map(str::to_owned));
}

#[test]
fn a_full_disk_holds_up_nobody_and_refuses_a_change_that_needs_room() {
    const NAME: &str = "scarce::a_full_disk_holds_up_nobody_and_refuses_a_change_that_needs_room";
    if !namespace::is_inside() {
        return namespace::play(NAME);
    }
    let directory = Arc::new(Directory::new("storm-full"));
    let (state, logs) = (
        directory.path().join("state"),
        directory.path().join("logs"),
    );
    mount(&state, 16 << 20);
    mount(&logs, 64 << 10);
    let plugin = directory.path().join("mine.so");
    fs::copy(smallest(), &plugin).expect("copied");
    let text = format!(
        "[daemon]\nlog.target = \"file\"\nlog.file = {:?}\nlog.level = \"debug\"\n[services.echo]\n\
         plugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 2\n",
        logs.join("polyport.log")
    );
    let daemon = Daemon::start_in(directory.clone(), &text);
    let load = Load::begin(daemon.address("echo", 0), 2, 0);
    // Each leaves two lines in a log that has no room for them.
    load.goes_on(1_000);
    let length = fs::metadata(logs.join("polyport.log"))
        .expect("it is there")
        .len();
    assert!(length <= 64 << 10, "{length} bytes in 64 KiB");
    let serving = daemon.worker_pids("echo");
    let filled = fill(&state);
    // Another plugin by the same name, which the store would have to take.
    fs::copy(folder().join("libpolyport_echo.so"), &plugin).expect("replaced");
    let reply = daemon.ask(RELOAD);
    let said = reply.to_string();
    assert!(reply["exit"] != 0 && said.contains("mine.so"), "{said}");
    load.goes_on(20);
    assert_eq!(daemon.worker_pids("echo"), serving);
    fs::remove_file(filled).expect("removed");
    reload(&daemon);
    load.goes_on(20);
    load.end().0.is_clean();
    settled(&daemon);
    daemon.finish(&["rejected, nothing was changed".to_owned()]);
}

fn mount(folder: &Path, bytes: usize) {
    fs::create_dir_all(folder).expect("a folder");
    let status = program("mount", "mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("mode=755,size={bytes}"),
            "polyport-test",
        ])
        .arg(folder)
        .status();
    assert!(status.expect("mount runs").success());
}

/// Takes all room there is.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("everything");
    let full = fs::write(&path, vec![0; 64 << 20]);
    assert!(full.is_err(), "the disk is larger than it was made");
    path
}
