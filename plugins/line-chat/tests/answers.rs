//! What is typed in odd ways, and answers that tell more than that something cannot be.

mod support;

use polyport_line_chat::Chat;
use polyport_plugin::testing::Setup;
use support::Worker;

fn busy() -> Setup {
    Setup::of::<Chat>().set("burst", "10000")
}

#[test]
fn a_blank_before_a_command_or_an_object_says_it_to_nobody() {
    let mut chat = Worker::start(busy());
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    for (line, answer) in [
        (" /msg ann secret", "there is no ann here"),
        ("\t/frob", "there is no /frob"),
        ("\u{a0} /who", "nick"),
        ("/mode json", "mode is json"),
        (r#" {"kind":"command","text":"names"}"#, "#lobby: bob eve"),
        (r#"["a"]"#, "an object"),
        (r#" "a""#, "an object"),
        (r#"{"text":"#, "that is no JSON"),
        ("\u{ff}\u{f6}x/y", ""),
    ] {
        let shown = chat.ask(bob, line);
        assert!(shown.contains(answer), "{line}: {shown}");
        let heard = chat.news(eve);
        assert!(answer.is_empty() || heard.is_empty(), "{line}: {heard}");
    }
    chat.say(bob, " //slash");
    chat.say(bob, "[sic] and so on");
    assert_eq!(chat.news(eve), "<bob> /slash\r\n<bob> [sic] and so on\r\n");
}

#[test]
fn what_was_said_before_is_marked_for_programs_and_has_its_day_for_people() {
    let mut chat = Worker::start(busy());
    let bob = chat.join("bob");
    chat.say(bob, "hello");
    let bot = chat.host.connect();
    let greeting = chat.ask(bot, "JSON\nbot");
    assert!(greeting.contains(r#""old":true"#), "{greeting}");
    assert!(chat.ask(bot, "/history").contains(r#""old":true"#));
    chat.say(bob, "again");
    let live = chat.news(bot);
    assert!(
        live.contains(r#""text":"again""#) && !live.contains("old"),
        "{live}"
    );
    // The bus of the kit says that it was in November 2023.
    let eve = chat.host.connect();
    let greeting = chat.ask(eve, "eve");
    assert!(
        greeting.contains("\r\n2023-11-14 22:13 <bob> hello\r\n"),
        "{greeting}"
    );
    assert!(
        chat.ask(eve, "/history")
            .starts_with("2023-11-14 22:13 <bob> hello\r\n")
    );
}

#[test]
fn answers_say_what_there_is() {
    let mut chat = Worker::start(busy().set("fixed_rooms", "garden,den"));
    let (_, bob) = (chat.join("rob2"), chat.join("bob"));
    chat.join("rob");
    for (line, answer) in [
        ("/help q", "/quit [WHY]: leave"),
        ("/help /w", "/who [#ROOM]: who"),
        ("/help tell", "/msg NICK TEXT: say"),
        ("/who #nowhere", "nobody is in #nowhere"),
        ("/who !!", "a room has 1 to 32"),
        ("/nick rob", "rob is taken; try rob3"),
        ("/join cellar", "there are #lobby #garden #den"),
        ("/topic tea", "bob set the topic of #lobby: tea"),
        ("/topic -", "-- bob cleared the topic of #lobby"),
        ("/topic", "#lobby has no topic"),
        ("/mode json", "mode is json"),
    ] {
        let shown = chat.ask(bob, line);
        assert!(shown.contains(answer), "{line}: {shown}");
    }
    chat.host.send(bob, b"\xFF\xF6");
    let shown = chat.news(bob);
    assert!(
        shown.contains(r#""kind":"notice""#) && shown.contains("yes"),
        "{shown}"
    );
}
