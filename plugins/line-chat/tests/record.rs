//! What a worker writes down of what is said in rooms, and what it does where it cannot.

use polyport_line_chat::Chat;
use polyport_plugin::testing::{FakeHost, Peer, Setup};

#[test]
fn what_is_said_in_rooms_is_written_down_and_nothing_else_is() {
    let folder = std::env::temp_dir().join(format!("line-chat-record-said-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("made");
    let name = folder.to_str().expect("a name in UTF-8");
    let mut chat = Setup::of::<Chat>().set("record", name).start();
    let chat = chat.as_mut().expect("it starts");
    let (bob, eve) = (chat.connect(), chat.connect());
    let say = |chat: &mut FakeHost, peer: Peer, line: &str| {
        chat.send(peer, format!("{line}\n").as_bytes());
        while chat.run_work() {}
    };
    say(chat, bob, "bob");
    say(chat, eve, "eve");
    for line in [
        "hi",
        "/msg eve psst",
        "/me waves",
        "\x1B]0;title\x07bell\x07",
        "/join den",
        "in the den",
    ] {
        say(chat, bob, line);
    }
    let written = |room: &str| {
        let files = std::fs::read_dir(folder.join(room)).expect("written");
        let files: Vec<_> = files.map(|file| file.expect("listed").path()).collect();
        assert_eq!(files.len(), 1, "one for the day, unless it has just ended");
        let text = std::fs::read_to_string(&files[0]).expect("text");
        let lines = text
            .lines()
            .map(|line| line["2026-11-21T00:00:00Z ".len()..].to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(written("lobby"), ["<bob> hi", "* bob waves", "<bob> bell"]);
    assert_eq!(written("den"), ["<bob> in the den"]);
    // Where nothing can be written the chat goes on, and the administrator is told once.
    std::fs::remove_dir_all(&folder).expect("removed");
    std::fs::write(&folder, "in its way").expect("written");
    for line in ["one", "two"] {
        say(chat, bob, line);
    }
    let complaints = chat.log();
    let complaints = complaints
        .iter()
        .filter(|it| format!("{it:?}").contains("not written down"));
    assert_eq!(complaints.count(), 1);
    std::fs::remove_file(&folder).expect("removed");
}
