//! What strangers and other processes say: it is understood or refused, alike however it is cut.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use polyport::channel::{Channel, Order, Received, Report};
use polyport::control::{Answer, Reply, Request, Server};
use polyport::engine::proxy::{HEADER_BYTES_MAX, Parsed, parse};
use polyport::exit;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub fn proxy_header(bytes: &[u8]) -> bool {
    let whole = parse(bytes);
    match whole {
        Parsed::Header(header) => {
            assert!(header.bytes <= bytes.len() && header.bytes <= HEADER_BYTES_MAX);
        }
        Parsed::More => assert!(bytes.len() < HEADER_BYTES_MAX, "{bytes:?}"),
        Parsed::Malformed => {}
    }
    // What is known of a beginning holds for the whole.
    for end in 0..bytes.len().min(HEADER_BYTES_MAX + 1) {
        match parse(&bytes[..end]) {
            Parsed::More => {}
            known => {
                assert_eq!(known, whole, "{end} bytes of {bytes:?}");
                break;
            }
        }
    }
    matches!(whole, Parsed::Header(_))
}

/// As a packet up the channel and as one down.
pub fn channel_frame(bytes: &[u8]) -> bool {
    let [report, order] = [packet::<Report>(bytes), packet::<Order>(bytes)];
    report || order
}

pub fn packet<T>(bytes: &[u8]) -> bool
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    if bytes.is_empty() {
        return false;
    }
    let (ours, theirs) = Channel::pair().expect("a socket pair");
    let mut raw = UnixStream::from(theirs.try_clone().expect("cloned"));
    let theirs = Channel::adopt(theirs).expect("one of a pair");
    raw.write_all(bytes).expect("one packet");
    let understood = match ours.receive::<T>() {
        Received::Message(message) => {
            theirs.send(&message).expect("sent");
            assert_eq!(ours.receive(), Received::Message(message));
            true
        }
        Received::Garbled(why) => {
            assert!(!why.is_empty());
            false
        }
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    };
    assert_eq!(ours.receive::<T>(), Received::Empty, "one packet each");
    understood
}

/// A line of any bytes to the control socket: one answer, and one line of it.
pub fn control_request(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    ASKED.with_borrow_mut(|control| {
        let mut caller = UnixStream::connect(&control.path).expect("connected");
        caller.write_all(&[line, b"\n"].concat()).expect("asked");
        let mut asked = None;
        control.server.turn(0, |request, _| {
            asked = Some(request.clone());
            Answer::Now(Reply::done(json!(request)))
        });
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("answered");
        assert_eq!(answer.matches('\n').count(), 1, "{answer}");
        let reply: Reply = serde_json::from_str(&answer).expect("a reply");
        let Some(request) = asked else {
            assert_eq!(reply.exit, exit::USAGE);
            assert!(reply.error.is_some_and(|error| !error.is_empty()));
            return false;
        };
        let again = serde_json::from_value::<Request>(reply.answer);
        assert_eq!(again.expect("a request"), request);
        true
    })
}

struct Control {
    server: Server,
    path: PathBuf,
}

thread_local! {
    /// Binding for each line would be most of the work.
    static ASKED: std::cell::RefCell<Control> = {
        let thread = format!("{:?}", std::thread::current().id());
        let number: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("polyport-asked-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let server = Server::bind(&path).expect("bound");
        std::cell::RefCell::new(Control { server, path })
    };
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
