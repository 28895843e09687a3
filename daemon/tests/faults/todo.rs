//! x
use super::scene::*;
use crate::support::daemon::*;
use crate::support::fixtures::build_fixture;
use nix::sys::signal::Signal;

#[test]
fn listener_of_failed() {
    let plugin = build_fixture("starts-create_refuses");
    let scene = Scene::start("todo-create", "", &plugin, "workers = 2\n");
    let status = scene.daemon.wait_for("x", |s| s["services"]["bad"]["state"] == "gone");
    eprintln!("{status:#}");
    let address = scene.daemon.address("bad", 0);
    assert!(std::net::TcpStream::connect(address).is_err(), "the port of a failed service still takes connections");
    scene.finish(&[""]);
}
#[test]
fn chan_empty() { chan("empty") }
#[test]
fn chan_closes() { chan("closes") }
fn chan(abuse: &str) {
    let plugin = build_fixture(&format!("channel-{abuse}"));
    let scene = Scene::start(&format!("todo-{abuse}"), "", &plugin, "");
    let mut peer = scene.bad();
    peer.echoes("!");
    drop(peer);
    let t = std::time::Instant::now();
    while t.elapsed().as_secs() < 4 { 
        if scene.daemon.status()["services"]["bad"]["workers"][0]["restarts"] == 1 { return scene.finish(&[""]) }
    }
    let s = scene.daemon.status();
    eprintln!("{s:#} {}", scene.daemon.log());
    scene.finish(&[""]);
    panic!("not replaced");
}
#[test]
fn forks() {
    let plugin = build_fixture("probes-constructor_forks");
    let scene = Scene::start("todo-forks", "", &plugin, "");
    let mut f = family_of(scene.daemon.pid());
    let all = family_and_strays(&scene.daemon);
    f.sort();
    let strays: Vec<_> = all.iter().filter(|p| !f.contains(p)).copied().collect();
    for s in &strays { eprintln!("{}", std::fs::read_to_string(format!("/proc/{s}/status")).unwrap().lines().take(8).collect::<Vec<_>>().join("|")); }
    for s in &strays { scene.daemon.signal(*s, Signal::SIGKILL); }
    drop(scene);
    assert!(strays.is_empty(), "{strays:?}");
}
#[test]
fn prints() {
    let plugin = build_fixture("probes-constructor_prints");
    let scene = Scene::start("todo-prints", "", &plugin, "");
    scene.finish(&[]);
}
#[test]
fn forges() {
    let plugin = build_fixture("probes-constructor_forges");
    let scene = Scene::start("todo-forges", "", &plugin, "");
    let page = scene.daemon.operate(&["status"]);
    let l = scene.daemon.log();
    eprintln!("{l}\n{}", String::from_utf8_lossy(&page.stdout).escape_debug());
    scene.finish(&[""]);
    assert!(!page.stdout.contains(&0x1b));
}
#[test]
fn orphan_looping() {
    let plugin = build_fixture("rude-loop");
    let mut daemon = Daemon::start("todo-orphan", &config("hang_timeout = \"300ms\"\ndrain_timeout=\"300ms\"\n", &plugin, ""));
    let pid = daemon.worker_pids("bad")[0];
    Peer::connect(daemon.address("bad", 0)).say("!");
    daemon.signal(daemon.pid(), Signal::SIGKILL);
    daemon.wait();
    let t = std::time::Instant::now();
    while t.elapsed().as_secs() < 5 { std::thread::yield_now(); }
    let alive = std::path::Path::new(&format!("/proc/{pid}")).exists();
    if alive { daemon.signal(pid, Signal::SIGKILL); }
    assert!(!alive, "a worker stuck in its plugin outlives its supervisor for ever");
}
