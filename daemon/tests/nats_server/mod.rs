//! A real NATS server with a store of its own, a cable to it that can be pulled, and a look from outside
//! at what lies in it.
//!
//! Invariant: a server is ended when its test is, by its own pid, and its store goes with it.

mod chat;
mod cluster;
mod credentials;
mod late;
mod papers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures_util::StreamExt;

use crate::support::daemon::PATIENCE;
use crate::support::directory::Directory;
use crate::support::program::program;

/// Messages of [`Server::stuff`].
pub(crate) const STUFFING: u64 = 6;

pub(crate) struct Server {
    child: Child,
    port: u16,
    store: Directory,
    arguments: Vec<String>,
}

impl Server {
    /// With a store that outlives it.
    pub(crate) fn start(name: &str) -> Server {
        Server::start_with(name, &[])
    }

    pub(crate) fn start_with(name: &str, arguments: &[&str]) -> Server {
        let port = free_port();
        let store = Directory::new(name);
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let child = run(port, &store, &arguments);
        Server {
            child,
            port,
            store,
            arguments,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// At once, as a power cut of the program would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same again, where it was.
    pub(crate) fn again(&mut self) {
        self.child = run(self.port, &self.store, &self.arguments);
    }

    /// All messages of a service from outside, by a client of its own: subjects and texts.
    pub(crate) fn messages(&self, service: &str) -> Vec<(String, String)> {
        self.outside(async |context| {
            let stream = context.get_stream(format!("polyport-{service}")).await;
            let stream = stream.expect("the stream of a service");
            // One by one: a consumer of a server that has just come back may never begin.
            let state = stream.cached_info().state.clone();
            let mut found = Vec::new();
            for sequence in state.first_sequence..=state.last_sequence {
                let message = stream.get_raw_message(sequence).await;
                let message = message.expect("nothing was taken out of it");
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                found.push((message.subject.to_string(), text));
            }
            found
        })
    }

    /// Keys of a service that are held, from outside.
    pub(crate) fn held(&self, service: &str) -> Vec<String> {
        self.outside(async |context| {
            let bucket = context.get_key_value(format!("polyport-{service}-leases"));
            let bucket: kv::Store = bucket.await.expect("the bucket of a service");
            let keys = bucket.keys().await.expect("keys");
            keys.map(|key| key.expect("a key")).collect().await
        })
    }

    /// Messages in the bucket of a service's leases: of keys that are held or were freed, and others.
    pub(crate) fn in_bucket(&self, service: &str) -> u64 {
        self.outside(async |context| {
            let stream = context.get_stream(format!("KV_polyport-{service}-leases"));
            let stream = stream.await.expect("the bucket of a service");
            stream.cached_info().state.messages
        })
    }

    /// Writes much that means nothing to anybody into the leases of a service, so that the server does not
    /// send whoever has not acknowledged it what comes behind.
    pub(crate) fn stuff(&self, service: &str) {
        self.outside(async |context| {
            let nothing = vec![b'x'; 900_000];
            for nth in 0..STUFFING {
                let subject = format!("$KV.polyport-{service}-leases.no.{nth}");
                let answer = context.publish(subject, nothing.clone().into()).await;
                answer.expect("sent").await.expect("stored");
            }
        });
    }

    fn outside<R>(&self, look: impl AsyncFnOnce(jetstream::Context) -> R) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(self.url()).await.expect("a server");
            look(jetstream::new(client)).await
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Until it says that it is ready.
fn run(port: u16, store: &Directory, arguments: &[String]) -> Child {
    let mut child = program("nats-server", "nats-server")
        .args(["--jetstream", "--addr", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .arg("--store_dir")
        .arg(store.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nats-server");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("Server is ready") {
        let read = log.read_line(&mut text);
        assert!(
            read.is_ok_and(|count| count > 0),
            "nats-server does not start:\n{text}"
        );
    }
    // It would wait for somebody who reads the rest.
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    child
}

/// Nobody has it now; it stays the server's over its deaths.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A way to a server on which, once it is cut, nothing goes any more and nothing ends.
pub(crate) struct Cable {
    port: u16,
    cut: Arc<(Mutex<bool>, Condvar)>,
    over: Arc<AtomicBool>,
}

impl Cable {
    pub(crate) fn to(server: &Server) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (cut, over) = (
            Arc::new((Mutex::new(false), Condvar::new())),
            Arc::default(),
        );
        let cable = Cable {
            port,
            cut: Arc::clone(&cut),
            over: Arc::clone(&over),
        };
        let target = server.port;
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let client = client.expect("a connection");
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("another one");
                    let to = to.try_clone().expect("another one");
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || carry(from, to, &cut));
                }
            }
        });
        cable
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        *self.cut.0.lock().expect("not poisoned") = true;
    }

    pub(crate) fn mend(&self) {
        *self.cut.0.lock().expect("not poisoned") = false;
        self.cut.1.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.mend();
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, cut: &(Mutex<bool>, Condvar)) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut piece) {
        let is_cut = cut.0.lock().expect("not poisoned");
        drop(cut.1.wait_timeout_while(is_cut, PATIENCE, |is_cut| *is_cut));
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// As long as a node may be silent in a test.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_secs(3);

/// A daemon's configuration with the bus there.
pub(crate) fn config(url: &str, more: &str) -> String {
    config_of(&[url.to_owned()], more)
}

/// The same with several servers.
pub(crate) fn config_of(urls: &[String], more: &str) -> String {
    format!(
        "[daemon]\n[daemon.bus]\nbackend = \"nats\"\n[daemon.bus.nats]\nservers = {urls:?}\n\
         node_timeout = \"{}s\"\n{more}\n[services.meets]\nplugin = \"fixture-meets\"\n\
         listen = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n",
        NODE_TIMEOUT.as_secs()
    )
}
