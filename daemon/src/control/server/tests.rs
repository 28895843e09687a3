//! Callers of every kind at a server whose clock is the test's.

use super::*;
use std::io::{BufRead, BufReader};

struct Desk {
    server: Server,
    path: PathBuf,
    asked: Vec<Request>,
    now_ms: u64,
}

fn desk(name: &str) -> Desk {
    let path = std::env::temp_dir().join(format!("pp-control-{}-{name}", std::process::id()));
    let server = Server::bind(&path).expect("bound");
    Desk {
        server,
        path,
        asked: Vec::new(),
        now_ms: 0,
    }
}

impl Desk {
    fn turn(&mut self) {
        let asked = &mut self.asked;
        self.server.turn(self.now_ms, |request, _| {
            asked.push(request.clone());
            match request {
                Request::Reload { .. } => Answer::Later,
                _ => Answer::Now(Reply::done("x".repeat(1 << 20).into())),
            }
        });
    }

    fn call(&self) -> UnixStream {
        UnixStream::connect(&self.path).expect("connected")
    }
}

fn reply(stream: &UnixStream) -> Reply {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("a reply")
}

#[test]
fn a_request_is_answered_once_and_the_connection_closed() {
    let mut desk = desk("once");
    let mut caller = desk.call();
    for piece in [&b"{\"verb\":"[..], b"\"status\"}\n"] {
        caller.write_all(piece).expect("sent");
        desk.turn();
    }
    let reader = std::thread::spawn(move || {
        let first = reply(&caller);
        let mut rest = Vec::new();
        caller.read_to_end(&mut rest).expect("the end");
        (first, rest)
    });
    while !desk.server.callers.is_empty() {
        desk.turn();
    }
    let (first, rest) = reader.join().expect("joined");
    assert_eq!((first.exit, rest.len()), (exit::DONE, 0));
    assert_eq!(desk.asked, [Request::Status]);
}

#[test]
fn garbage_is_refused_with_a_hint_and_reaches_nobody() {
    let too_long = vec![b'x'; REQUEST_BYTES_MAX + 2];
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\xff\n",
        b"{\"verb\":\"fly\"}\n",
        &too_long,
    ] {
        let mut desk = desk("garbage");
        let mut caller = desk.call();
        caller.set_nonblocking(true).expect("set");
        let _ = caller.write(garbage);
        desk.turn();
        caller.set_nonblocking(false).expect("set");
        assert_eq!(reply(&caller).exit, exit::USAGE);
        assert!(desk.asked.is_empty());
    }
}

#[test]
fn silent_callers_keep_nobody_out_and_are_gone_in_time() {
    let mut desk = desk("silent");
    let idle: Vec<_> = (0..CALLERS_MAX + 4).map(|_| desk.call()).collect();
    desk.turn();
    desk.turn();
    assert_eq!(desk.server.callers.len(), CALLERS_MAX);
    let mut caller = desk.call();
    caller.write_all(b"{\"verb\":\"status\"}\n").expect("sent");
    desk.turn();
    assert_eq!(desk.asked, [Request::Status]);
    assert_eq!(desk.server.next_deadline_ms(), Some(PATIENCE_MS));
    desk.now_ms = PATIENCE_MS;
    desk.turn();
    assert!(desk.server.callers.is_empty());
    drop(idle);
}

#[test]
fn a_caller_who_does_not_read_is_left_behind() {
    let mut desk = desk("slow");
    let mut caller = desk.call();
    caller.write_all(b"{\"verb\":\"status\"}\n").expect("sent");
    desk.turn();
    assert!(matches!(
        desk.server.callers[0].state,
        State::Answered { .. }
    ));
    desk.now_ms = PATIENCE_MS;
    desk.turn();
    assert!(desk.server.callers.is_empty());
}

#[test]
fn an_answer_that_takes_a_while_finds_who_asked() {
    let mut desk = desk("later");
    let ask = |desk: &Desk| {
        let mut caller = desk.call();
        let line = b"{\"verb\":\"reload\",\"wait\":true,\"dry_run\":false}\n";
        caller.write_all(line).expect("sent");
        caller
    };
    let (first, left) = (ask(&desk), ask(&desk));
    desk.turn();
    desk.now_ms = 100 * PATIENCE_MS;
    drop(left);
    desk.turn();
    assert_eq!(desk.server.callers.len(), 1, "who left is not waited for");
    let ticket = desk.server.callers[0].credentials.ticket;
    let answer = Reply::failed(exit::CONFIG, "no");
    desk.server.reply(ticket + 7, &answer, desk.now_ms);
    desk.server.reply(ticket, &answer, desk.now_ms);
    assert_eq!(reply(&first).exit, exit::CONFIG);
}
