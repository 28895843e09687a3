//! A change that is fine to every check and dies once it serves: it is gone back on without anybody
//! being asked, and the other services do not notice.

use crate::load::Load;
use crate::scene::{carrying, reload, settled};
use crate::support::daemon::Daemon;
use crate::support::fixtures::build_fixture;
use crate::support::plugins::smallest;

#[test]
fn a_change_whose_workers_die_is_gone_back_on_and_others_lose_nobody() {
    let config = |plugin: &std::path::Path| {
        format!(
            "{}[services.tried]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 2\n",
            carrying(2, 0)
        )
    };
    let daemon = Daemon::start("storm-probation", &config(&smallest()));
    let load = Load::begin(daemon.address("echo", 0), 2, 2);
    let untouched = daemon.worker_pids("echo");
    load.goes_on(20);
    daemon.write_config(&config(&build_fixture("fades")));
    reload(&daemon);
    daemon.wait_log("going back to the last plan that has proved itself");
    daemon.wait_for("what served before", |status| {
        let service = &status["services"]["tried"];
        service["plugin"] == "echo" && service["state"] == "serving"
    });
    load.goes_on(20);
    // The old code is what answers.
    let back = Load::begin(daemon.address("tried", 0), 1, 0);
    back.goes_on(20);
    back.end().0.is_clean();
    let (short, long) = load.end();
    short.is_clean();
    long.is_clean();
    assert_eq!(long.answered(), 2, "a long connection was begun anew");
    settled(&daemon);
    assert_eq!(daemon.worker_pids("echo"), untouched);
    daemon.finish(&["tried".to_owned()]);
}
