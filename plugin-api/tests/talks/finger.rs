//! Finger on a host without sockets: the same answer in whatever pieces and however slowly it is asked.

use std::time::Duration;

use polyport_finger::polyport_plugin_v1;
use polyport_plugin::End;
use polyport_plugin::testing::{Conversation, Setup};

#[test]
fn whoever_is_asked_for_is_told_of() {
    let finger =
        Setup::table(polyport_plugin_v1()).set("people", "ann: Ann Smith, bob: on holiday");
    for (query, answer) in [
        ("ann", "ann: Ann Smith\r\n"),
        ("", "ann\r\nbob\r\n"),
        ("eve", "Nobody of that name is here.\r\n"),
    ] {
        let talk = Conversation::new()
            .line(query)
            .expect(answer)
            .expect_end(End::Finished);
        finger.each_seed(0..50, &talk, Duration::from_secs(1));
    }
}
