//! The client of NATS in a thread of its own, and the bounded queues between it and the hub's loop.
//!
//! The loop never waits for the thread: it takes what was heard, a bounded number in a turn, and gives
//! what is asked for as far as there is room. The thread makes a connection, lives with it until it
//! breaks, and makes the next one. Each connection has a runtime of its own that ends with it, so nothing
//! that was sent to the one can leave by the other, and out of its order.
//!
//! Invariant: a request is carried out on the connection that it was made for, or not at all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::cluster::{Event, Request};
use super::session::{self, Over, Settings};
use crate::hub::core::Hub;
use crate::hub::store::Store;

/// Requests that the thread has not taken yet.
const REQUESTS_MAX: usize = 1024;
/// Events that the loop has not taken yet, and how many it takes in a turn.
const EVENTS_MAX: usize = 4096;
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Between two attempts to connect; doubled each time.
const PAUSE_MS: u64 = 50;
const PAUSE_MS_MAX: u64 = 1_000;

pub(in crate::hub) struct Backend {
    requests: Sender<(u64, Request)>,
    events: Receiver<Event>,
    bell: Arc<Bell>,
    /// Which connection the hub knows of.
    link: u64,
    /// The thread has ended.
    pub(in crate::hub) is_over: bool,
}

/// Wakes the loop.
struct Bell {
    fd: EventFd,
    rung: AtomicBool,
}

/// The thread's way to the loop.
#[derive(Clone)]
pub(super) struct Events {
    sender: Sender<Event>,
    bell: Arc<Bell>,
}

impl Backend {
    pub(in crate::hub) fn start(settings: Settings) -> io::Result<Backend> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(Bell {
            fd: EventFd::from_value_and_flags(0, flags)?,
            rung: AtomicBool::new(false),
        });
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let bells = Events {
            sender,
            bell: Arc::clone(&bell),
        };
        std::thread::Builder::new()
            .name("nats".to_owned())
            .spawn(move || {
                live(&Arc::new(settings), asked, &bells);
                let bell = Arc::clone(&bells.bell);
                drop(bells);
                bell.ring();
            })?;
        Ok(Backend {
            requests,
            events,
            bell,
            link: 0,
            is_over: false,
        })
    }

    /// Takes what was heard, and gives what is asked.
    pub(in crate::hub) fn exchange<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        time_ms: u64,
        now_ms: u64,
    ) {
        self.bell.quiet();
        let mut taken = 0;
        while taken < EVENTS_PER_TURN_MAX {
            match self.events.try_recv() {
                Ok(event) => {
                    taken += 1;
                    self.link += u64::from(event == Event::Up);
                    hub.told(event, time_ms, now_ms);
                }
                Err(error) => {
                    self.is_over = error == TryRecvError::Disconnected;
                    break;
                }
            }
        }
        if taken == EVENTS_PER_TURN_MAX {
            self.bell.ring();
        }
        while let Ok(room) = self.requests.try_reserve()
            && let Some(request) = hub.next_request()
        {
            room.send((self.link, request));
        }
    }
}

impl AsFd for Backend {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.fd.as_fd()
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails if it was rung more often than it can count, and then it has been heard of.
            let _ = self.fd.write(1);
        }
    }

    fn quiet(&self) {
        let _ = self.fd.read();
        self.rung.store(false, Ordering::Release);
    }
}

impl Events {
    /// Waits while the loop has enough to take; false once it is gone.
    pub(super) async fn tell(&self, event: Event) -> bool {
        let told = self.sender.send(event).await.is_ok();
        self.bell.ring();
        told
    }
}

/// The thread: one connection after the other.
fn live(settings: &Arc<Settings>, mut asked: Receiver<(u64, Request)>, events: &Events) {
    let (mut links, mut pause_ms) = (0, PAUSE_MS);
    let mut complaint = String::new();
    loop {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("bus: there is no NATS, as its client cannot be run: {error}");
                return;
            }
        };
        let over = runtime.block_on(session::run(settings, &mut asked, events, links + 1));
        let was_up = match &over {
            Over::Asked => return runtime.shutdown_background(),
            Over::Broken { was_up, .. } => *was_up,
        };
        // What the client still has goes with its runtime.
        runtime.shutdown_background();
        if was_up {
            links += 1;
            pause_ms = PAUSE_MS;
            complaint.clear();
        }
        let Over::Broken { why, .. } = over else {
            return;
        };
        if why != complaint {
            tracing::warn!("bus: NATS is away: {why}; what is asked waits, and it is tried again");
            complaint = why;
        }
        let goes_on = Builder::new_current_thread()
            .enable_time()
            .build()
            .is_ok_and(|pause| rest(&pause, &mut asked, events, was_up, pause_ms));
        if !goes_on {
            return;
        }
        pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
    }
}

/// Says that the connection is gone and lets some time pass; false if the loop is gone.
fn rest(
    runtime: &Runtime,
    asked: &mut Receiver<(u64, Request)>,
    events: &Events,
    was_up: bool,
    pause_ms: u64,
) -> bool {
    runtime.block_on(async {
        if was_up && !events.tell(Event::Down).await {
            return false;
        }
        let pause = tokio::time::sleep(Duration::from_millis(pause_ms));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                // Whatever is asked now was meant for the connection that is gone.
                request = asked.recv() => if request.is_none() {
                    return false;
                },
            }
        }
    })
}
