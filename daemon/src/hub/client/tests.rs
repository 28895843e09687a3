//! What a worker's end says first, and what it still waits for.

use super::*;
use crate::hub::core::Hub;
use crate::hub::simulation::shelf::Shelf;
use crate::hub::wire::next_frame;

/// All that the two have for each other; what the client was told.
fn exchange(
    client: &mut Client,
    hub: &mut Hub<Shelf>,
    member: super::super::core::MemberId,
) -> Vec<String> {
    let said = client.output(true).to_vec();
    client.sent(said.len());
    let mut at = 0;
    while let Some((content, taken)) = next_frame(&said[at..]).expect("well formed") {
        at += taken;
        hub.hear(member, content, 1, 1)
            .expect("clients keep the rules");
    }
    let given = hub.output(member).to_vec();
    hub.sent(member, given.len());
    let (mut told, mut at) = (Vec::new(), 0);
    while let Some((content, taken)) = next_frame(&given[at..]).expect("well formed") {
        at += taken;
        told.push(match client.hear(content).expect("hubs keep the rules") {
            Heard::Seen { key, held, .. } => format!("{key} {}", held.is_some()),
            Heard::Won { key, .. } => format!("won {key}"),
            Heard::Published { .. } => "published".to_owned(),
            _ => continue,
        });
    }
    told
}

#[test]
fn whoever_wins_a_claim_knows_what_was_held_before_it() {
    let mut hub = Hub::new(Shelf::default(), false, 0);
    let (first, second) = (hub.attach("chat", false), hub.attach("chat", false));
    let (mut old, mut new) = (Client::new(1), Client::new(2));
    old.attach();
    old.claim(1, "nick.bob", b"bob", b"s1").expect("room");
    assert_eq!(exchange(&mut old, &mut hub, first), ["won nick.bob"]);
    new.watch(1, "nick.").expect("room");
    new.claim(2, "node.2", b"", b"s2").expect("room");
    new.attach();
    assert_eq!(
        exchange(&mut new, &mut hub, second),
        ["nick.bob true", "won node.2"]
    );
}

#[test]
fn last_words_are_unanswered_until_a_hub_has_numbered_them() {
    let mut hub = Hub::new(Shelf::default(), false, 0);
    let member = hub.attach("chat", false);
    let mut client = Client::new(1);
    assert!(!client.has_unanswered());
    client.publish(1, "room", b"", b"hi", 1).expect("room");
    assert!(client.has_unanswered(), "there is no hub yet");
    client.attach();
    assert!(client.has_unanswered());
    assert_eq!(exchange(&mut client, &mut hub, member), ["published"]);
    assert!(!client.has_unanswered());
    client.publish(2, "room", b"", b"ho", 1).expect("room");
    client.lose();
    assert!(client.has_unanswered(), "the next hub is to hear of it");
}

#[test]
fn what_is_held_is_not_free_for_a_moment_when_a_hub_dies_before_it_has_answered_for_its_new_value()
{
    let mut hub = Hub::new(Shelf::default(), false, 0);
    let (mut holder, mut watcher) = (Client::new(1), Client::new(2));
    let first = hub.attach("chat", false);
    holder.attach();
    holder.claim(1, "nick.bob", b"bob", b"s1").expect("room");
    assert_eq!(exchange(&mut holder, &mut hub, first), ["won nick.bob"]);
    let second = hub.attach("chat", false);
    watcher.watch(1, "nick.").expect("room");
    watcher.attach();
    assert_eq!(exchange(&mut watcher, &mut hub, second), ["nick.bob true"]);
    holder
        .claim(2, "nick.bob", b"bob in a room", b"s1")
        .expect("room");
    let mut hub = Hub::new(Shelf::default(), true, 0);
    let ids = [hub.attach("chat", true), hub.attach("chat", true)];
    let mut told = Vec::new();
    for client in [&mut watcher, &mut holder] {
        client.lose();
        client.attach();
    }
    for _ in 0..3 {
        exchange(&mut holder, &mut hub, ids[0]);
        told.extend(exchange(&mut watcher, &mut hub, ids[1]));
    }
    assert_eq!(told, ["nick.bob true"], "its new value, and nothing else");
}
