//! A worker with closures in place of a plugin: one serves every session, and each wake submits a job
//! that waits for a word of the test.

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use super::super::super::tests::{PATIENCE, Running, limits, start_with};
use crate::engine::desk::Desk;
use crate::engine::handler::{
    ByteStream, Errand, Halt, Handler, JobEnd, JobToken, Served, SharedHandler,
};
use crate::engine::protocol::Protocol;
use crate::engine::session::{End, Facts, Fed, TimerToken, Token};
use crate::plan::Limits;

pub(super) type Verdict = Result<(), End>;
type Conversation = dyn Fn(&mut dyn ByteStream) -> Verdict + Send + Sync;

/// Serves as a closure says; each wake submits a job that waits for a word of the test.
struct Threaded {
    desk: Desk,
    conversation: Arc<Talk>,
    gate: Arc<Mutex<Receiver<()>>>,
    began: Sender<()>,
    ends: Sender<JobEnd>,
}

struct Talk(Box<Conversation>);

impl Handler for Talk {
    fn serves_streams(&self) -> bool {
        true
    }

    fn parallel_max(&self) -> u32 {
        0
    }

    fn serve(&self, _: Token, _: &Facts<'_>, stream: &mut dyn ByteStream) -> Served {
        Served {
            verdict: (self.0)(stream),
            log_dropped: 0,
        }
    }
}

impl Protocol for Threaded {
    type State = ();

    fn open(&mut self, _: Token, _: &Facts<'_>) -> Result<(), End> {
        Err(End::Fault)
    }

    fn feed(&mut self, _: Token, (): (), _: &[u8]) -> Fed {
        Fed::Failed(End::Fault)
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Err(End::Fault)
    }

    fn writable(&mut self, _: Token, (): ()) -> Result<(), End> {
        Err(End::Fault)
    }

    fn closed(&mut self, _: Token, (): (), _: End) {}

    fn timer(&mut self, _: TimerToken, _: u64) {}

    fn wake(&mut self, _: u64) {
        let (gate, began) = (self.gate.clone(), self.began.clone());
        let job = move || {
            began.send(()).expect("heard");
            let _ = gate.lock().expect("nobody panics with it").recv();
            JobEnd::Ran
        };
        if self.desk.submit(Errand::Job, job).is_err() {
            self.ends
                .send(JobEnd::Faulted("refused".into()))
                .expect("heard");
        }
    }

    fn drain(&mut self, _: u64) {}

    fn handler(&self) -> Option<SharedHandler> {
        Some(self.conversation.clone())
    }

    fn worked(&mut self, _: JobToken, end: JobEnd) {
        self.ends.send(end).expect("heard");
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

pub(super) struct Scene {
    pub(super) running: Running,
    /// Lets jobs go, one a message, or all when dropped.
    pub(super) gate: Sender<()>,
    pub(super) began: Receiver<()>,
    pub(super) ends: Receiver<JobEnd>,
}

pub(super) fn scene(
    limits: Limits,
    conversation: impl Fn(&mut dyn ByteStream) -> Verdict + Send + Sync + 'static,
) -> Scene {
    let (gate, waiting) = mpsc::channel();
    let (told, ends) = mpsc::channel();
    let (begin, began) = mpsc::channel();
    let running = start_with(
        move |_| Threaded {
            desk: Desk::with_jobs(3),
            conversation: Arc::new(Talk(Box::new(conversation))),
            gate: Arc::new(Mutex::new(waiting)),
            began: begin,
            ends: told,
        },
        limits,
    );
    Scene {
        running,
        gate,
        began,
        ends,
    }
}

/// The conversation tells the test what it finds, one message after the other.
pub(super) fn telling<T: Send + 'static>() -> (impl Fn(T) + Send + Sync, impl Fn() -> T) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let tell = move |it| {
        let sent = tell.lock().expect("nobody panics with it").send(it);
        sent.expect("the test listens");
    };
    (tell, move || {
        told.recv_timeout(PATIENCE).expect("the handler tells")
    })
}

pub(super) fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an orderly end");
    text
}

pub(super) fn with(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = limits();
    change(&mut limits);
    limits
}

pub(super) fn read_all(stream: &mut dyn ByteStream) -> Result<Vec<u8>, (Vec<u8>, Halt)> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer, false) {
            Ok(0) => return Ok(all),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(halt) => return Err((all, halt)),
        }
    }
}
