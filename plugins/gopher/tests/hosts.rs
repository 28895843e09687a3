//! A host that lacks what the plugin lives on: the administrator is told, and peers are answered.

use std::path::Path;

use polyport_gopher::polyport_plugin_v1;
use polyport_plugin::testing::Setup;

#[test]
fn a_host_without_jobs_is_named_in_the_log() {
    let hole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/gopher");
    let hole = hole.canonicalize().expect("the example comes along");
    let setup = Setup::table(polyport_plugin_v1()).set("root", hole.to_str().expect("UTF-8"));
    for (lacks, is_told) in [("polyport.work/1", true), ("polyport.file/1", false)] {
        let mut host = setup.clone().without(lacks).start().expect("it starts");
        let peer = host.connect();
        host.send(peer, b"\r\n");
        while host.run_work() {}
        assert!(!host.received(peer).is_empty(), "without {lacks}");
        let told = host.log();
        let told = told
            .iter()
            .any(|line| line.text.contains("no polyport.work/1"));
        assert_eq!(told, is_told, "without {lacks}");
    }
}
