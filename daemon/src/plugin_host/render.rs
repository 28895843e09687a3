//! One conversation with an instance that serves nobody: what a peer that says this is answered goes to
//! a file that was handed over, whole and as it is.
//!
//! On the SDK's fake host, as trials are, so that there is no socket and no worker; the sandbox, the
//! settings and the code are those of a start. Invariant: bytes are written only of a conversation that
//! has come to its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use polyport_plugin::End;
use polyport_plugin::testing::{FakeHost, Script};

use super::admit::Admitted;
use super::conformance::{Subject, finish, in_words, peer_address};

pub(super) fn run(
    admitted: &Admitted,
    settings: &BTreeMap<String, serde_json::Value>,
    endpoints: &[String],
    said: &[u8],
    mut out: File,
) -> Result<(), String> {
    let subject = Subject::new(admitted, settings);
    let answer = in_words(|| converse(&subject, endpoints, said))?;
    out.write_all(&answer)
        .map_err(|error| format!("the answer cannot be printed: {error}"))
}

fn converse(subject: &Subject, endpoints: &[String], said: &[u8]) -> Result<Vec<u8>, String> {
    if !subject.streams && !subject.blocking {
        return Err("it speaks datagrams only; what is rendered is a conversation".to_owned());
    }
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let setup = subject.setup_of_whole_answers().endpoints(&endpoints);
    let mut host = subject.start(setup)?;
    let answer = match subject.streams {
        true => ask(&mut host, said)?,
        false => host.serve(Script::new().says(said).finishes()).received,
    };
    finish(host)?;
    Ok(answer)
}

/// Peers of the event style finish their side once there is nothing more to come.
fn ask(host: &mut FakeHost, said: &[u8]) -> Result<Vec<u8>, String> {
    let peer = host
        .try_connect(peer_address())
        .map_err(|error| format!("it refuses the session: {error}"))?;
    host.send(peer, said);
    while host.run_work() {}
    if host.end(peer).is_none() {
        host.peer_finishes(peer);
        while host.run_work() {}
    }
    match host.end(peer) {
        None | Some(End::Finished) => Ok(host.received(peer).to_vec()),
        Some(end) => Err(format!("the session ended before the answer did: {end:?}")),
    }
}
