//! Each way in which a server may ask who is there: a password, a token, the seed of a key, signed papers.

use std::fs;

use nkeys::KeyPair;

use super::papers::Papers;
use super::{Server, config};
use crate::linked;
use crate::support::daemon::Daemon;
use crate::support::directory::Directory;

/// What a server is started with, and what a daemon needs to be let in and is turned away with.
struct Way {
    name: &'static str,
    arguments: Vec<String>,
    /// The server's configuration.
    asks: String,
    user: Option<&'static str>,
    right: String,
    wrong: String,
}

fn ways() -> [Way; 4] {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = |key: &KeyPair| key.seed().expect("it was made here");
    let (papers, forged) = (Papers::made(), Papers::made());
    let given = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect();
    [
        Way {
            name: "password",
            arguments: given(&["--user", "hub", "--pass", "open sesame"]),
            asks: String::new(),
            user: Some("hub"),
            right: "open sesame\n".to_owned(),
            wrong: "close sesame".to_owned(),
        },
        Way {
            name: "token",
            arguments: given(&["--auth", "s3cret-t0ken"]),
            asks: String::new(),
            user: None,
            right: "s3cret-t0ken\n".to_owned(),
            wrong: "an0ther-t0ken".to_owned(),
        },
        Way {
            name: "nkey",
            arguments: Vec::new(),
            asks: format!(
                "authorization {{ users: [ {{ nkey: {} }} ] }}\n",
                key.public_key()
            ),
            user: None,
            right: format!("{}\n", seed(&key)),
            wrong: seed(&other),
        },
        Way {
            name: "creds",
            arguments: Vec::new(),
            asks: papers.configuration,
            user: None,
            right: papers.credentials,
            wrong: forged.credentials,
        },
    ]
}

#[test]
fn a_server_that_asks_who_is_there_is_told() {
    for way in ways() {
        let place = Directory::new(&format!("nats-{}", way.name));
        let (asks, secret) = (place.path().join("conf"), place.path().join("secret"));
        fs::write(&asks, &way.asks).expect("written");
        let asks = asks.to_str().expect("UTF-8");
        let arguments = way.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = ["--config", asks].into_iter().chain(arguments).collect();
        let server = Server::start_with(&format!("nats-asks-{}", way.name), &arguments);
        let user = way.user.map(|user| format!("user = {user:?}\n"));
        let more = format!("{}credentials = {secret:?}", user.unwrap_or_default());
        fs::write(&secret, &way.right).expect("written");
        let name = format!("nats-knows-{}", way.name);
        let daemon = Daemon::start(&name, &config(&server.url(), &more));
        let mut peer = linked(&daemon);
        peer.say("publish room m1 hello");
        peer.until("published");
        drop(peer);
        daemon.finish(&[]);
        fs::write(&secret, &way.wrong).expect("written");
        let name = format!("nats-errs-{}", way.name);
        let daemon = Daemon::start(&name, &config(&server.url(), &more));
        daemon.wait_log("authorization violation");
        assert!(
            !daemon.log().contains(way.wrong.trim()),
            "a secret in the log"
        );
        daemon.finish(&[]);
    }
}
