//! Buckets: the leases of each service, and the nodes that live.
//!
//! A lease is written with the revision that it replaces, so that of two who write at once one is told
//! that it came too late. The bucket has one message of each key, so of several writes those who watch may
//! see the last one only: freeing a key therefore leaves a marker that says what it was, and that stays
//! for as long as somebody may be late (`markers`). A node writes its own key again and again; the
//! server of Debian keeps no time for single keys, so others judge by when they last heard of it.
//!
//! Invariant: a key changes only by a write that names its revision.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, DiscardPolicy};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::time::Instant;

use super::cluster::{Answer, Event, Lease, Shown};
use super::markers::STAY_MS;
use super::names::{self, bytes, hexadecimal};
use super::session::{Service, Session, Settings, Trouble, in_words};
use super::stream::follow;
use crate::hub::wire::{SESSION_BYTES_MAX, VALUE_BYTES_MAX};

/// Times that a key is looked up because somebody was faster.
const TURNS_MAX: usize = 16;
/// A node that nobody misses any more is forgotten by the server.
const FORGET_NODES: Duration = Duration::from_secs(3_600);
const OPERATION: &str = "KV-Operation";

pub(super) type Bucket = Arc<kv::Store>;

/// A lease as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    node: String,
    /// In hexadecimal, as the value.
    session: String,
    value: String,
}

/// What a node says of itself.
#[derive(Serialize, Deserialize)]
struct Alive {
    timeout_ms: u64,
}

/// It is made if it is not there.
pub(super) async fn open(
    context: &Context,
    name: String,
    settings: &Settings,
    forgets: bool,
) -> Result<Bucket, Trouble> {
    if let Ok(bucket) = context.get_key_value(&name).await {
        return Ok(Arc::new(bucket));
    }
    // A bucket is a stream with these settings. The client's own way of making one asks the server for
    // the account first, in words that one of version 2.9 does not answer as the client expects.
    let wanted = stream::Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age: if forgets {
            FORGET_NODES
        } else {
            Duration::ZERO
        },
        discard: DiscardPolicy::New,
        allow_rollup: true,
        // Markers are taken away.
        deny_delete: false,
        allow_direct: true,
        num_replicas: settings.plan.replicas,
        ..stream::Config::default()
    };
    let made = context.create_stream(wanted).await;
    match (context.get_key_value(&name).await, made) {
        (Ok(bucket), _) => Ok(Arc::new(bucket)),
        (Err(_), Err(error)) => Err(format!(
            "bucket {name}: {}; is JetStream switched on there, and may this user use it?",
            in_words(&error)
        )),
        (Err(error), Ok(_)) => Err(format!("bucket {name}: {}", in_words(&error))),
    }
}

// --- leases ------------------------------------------------------------------------------------

/// Writes a lease over this revision, or over a marker; else tells what is there.
pub(super) async fn put(
    context: &Context,
    bucket: &Bucket,
    key: &str,
    lease: &Lease,
    mut expected: u64,
) -> Result<Answer, Trouble> {
    let token = names::token(key);
    let written = written(lease)?;
    for _ in 0..TURNS_MAX {
        let message = PublishMessage::build().payload(written.clone().into());
        if let Some(revision) = write(context, bucket, &token, message, expected).await? {
            return Ok(Answer::Taken(revision));
        }
        let found = bucket.entry(token.clone()).await;
        let found = found.map_err(|error| format!("{}: {}", bucket.name, in_words(&error)))?;
        expected = match found {
            None => 0,
            Some(entry) if entry.operation == Operation::Put => {
                return Ok(Answer::Found(read(&entry.value), entry.revision));
            }
            Some(marker) => marker.revision,
        };
    }
    Err(format!("{}: {key} changes all the time", bucket.name))
}

/// Frees a key if this is its revision; its marker has the returned one. Else whether anything is there.
pub(super) async fn delete(
    context: &Context,
    bucket: &Bucket,
    key: &str,
    revision: u64,
    last: &Lease,
) -> Result<Freed, Trouble> {
    let token = names::token(key);
    let message = PublishMessage::build().header(OPERATION, "DEL");
    let message = message.payload(written(last)?.into());
    if let Some(marker) = write(context, bucket, &token, message, revision).await? {
        return Ok(Freed::By(marker));
    }
    let found = bucket.entry(token).await;
    let found = found.map_err(|error| format!("{}: {}", bucket.name, in_words(&error)))?;
    Ok(match found {
        Some(_) => Freed::Not,
        None => Freed::Before,
    })
}

pub(super) enum Freed {
    By(u64),
    /// It is another one's, or a marker says so to everybody.
    Not,
    /// Nothing is there any more.
    Before,
}

/// The new revision; `None` if `expected` is not the key's revision.
async fn write(
    context: &Context,
    bucket: &Bucket,
    token: &str,
    message: PublishMessage,
    expected: u64,
) -> Result<Option<u64>, Trouble> {
    let subject = format!("{}{token}", bucket.prefix);
    let message = message.expected_last_subject_sequence(expected);
    let answer = match context.send_publish(subject, message).await {
        Ok(answer) => answer.await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(taken) => Ok(Some(taken.sequence)),
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
        Err(error) => Err(format!("bucket {}: {}", bucket.name, in_words(&error))),
    }
}

fn written(lease: &Lease) -> Result<Vec<u8>, Trouble> {
    let written = serde_json::to_vec(&Written {
        node: lease.node.clone(),
        session: hexadecimal(&lease.session),
        value: hexadecimal(&lease.value),
    });
    written.map_err(|error| in_words(&error))
}

/// What nobody here has written is somebody's of whom nothing is known.
fn read(written: &[u8]) -> Lease {
    let written: Option<Written> = serde_json::from_slice(written).ok();
    let lease = written.and_then(|it| {
        let session = bytes(&it.session).filter(|it| it.len() <= SESSION_BYTES_MAX)?;
        let value = bytes(&it.value).filter(|it| it.len() <= VALUE_BYTES_MAX)?;
        Some(Lease {
            node: it.node,
            session: session.into(),
            value: value.into(),
        })
    });
    lease.unwrap_or(Lease {
        node: String::new(),
        session: Box::default(),
        value: Box::default(),
    })
}

pub(super) async fn follow_leases(
    session: &Session,
    number: usize,
    service: &Service,
) -> Result<(), Trouble> {
    let bucket = &service.leases;
    let before = bucket.stream.cached_info().state.last_sequence;
    let event = |message: &Message| {
        let revision = message.info().ok()?.stream_sequence;
        let key = names::name(message.subject.strip_prefix(bucket.prefix.as_str())?)?;
        let shown = match is_marker(message) {
            false => Shown::Held(read(&message.payload)),
            true => {
                if revision <= before {
                    // Whoever has written it may not be there any more.
                    service.markers.add(revision, Instant::now());
                }
                let last = (!message.payload.is_empty()).then(|| read(&message.payload));
                Shown::Free(last)
            }
        };
        Some(Event::Lease {
            service: number,
            key,
            revision,
            shown,
        })
    };
    let filter = format!("{}>", bucket.prefix);
    let seen = Event::LeasesSeen { service: number };
    let all = DeliverPolicy::LastPerSubject;
    follow(session, &bucket.stream, filter, all, event, seen).await
}

fn is_marker(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    let operation = headers.and_then(|all| all.get(OPERATION));
    operation.is_some_and(|it| it.as_str() != "PUT")
}

// --- nodes -------------------------------------------------------------------------------------

/// Says that this node lives.
pub(super) async fn enter(
    settings: &Settings,
    context: &Context,
    nodes: &Bucket,
) -> Result<(), Trouble> {
    let timeout_ms = settings.plan.node_timeout_ms;
    let alive = serde_json::to_vec(&Alive { timeout_ms }).map_err(|error| in_words(&error))?;
    let subject = format!("{}{}", nodes.prefix, settings.node);
    let message = PublishMessage::build().payload(alive.into());
    let answer = match context.send_publish(subject, message).await {
        Ok(answer) => answer.await,
        Err(error) => Err(error),
    };
    let said = answer.map(drop);
    said.map_err(|error| format!("bucket {}: {}", nodes.name, in_words(&error)))
}

pub(super) async fn say_alive(session: Arc<Session>, nodes: Bucket) -> Result<(), Trouble> {
    let settings = &session.settings;
    // Two that are lost do no harm.
    let mut pace = tokio::time::interval(Duration::from_millis(settings.plan.node_timeout_ms / 4));
    let mut heard = Instant::now();
    loop {
        pace.tick().await;
        // What was over meanwhile is not told on this connection any more.
        let still = heard.elapsed().saturating_sub(pace.period());
        if still >= Duration::from_millis(STAY_MS / 2) {
            return Err(format!(
                "this process stood still for {} s",
                still.as_secs()
            ));
        }
        heard = Instant::now();
        enter(settings, &session.context, &nodes).await?;
    }
}

pub(super) async fn leave(session: &Session, nodes: &Bucket) {
    if let Err(error) = nodes.purge(&session.settings.node).await {
        tracing::debug!("this node stays in {}: {}", nodes.name, in_words(&error));
    }
}

pub(super) async fn follow_nodes(session: Arc<Session>, nodes: Bucket) -> Result<(), Trouble> {
    let event = |message: &Message| {
        let node = message.subject.strip_prefix(nodes.prefix.as_str())?;
        let alive: Option<Alive> = serde_json::from_slice(&message.payload).ok();
        Some(Event::Node {
            node: node.to_owned(),
            timeout_ms: alive.map(|it| it.timeout_ms),
        })
    };
    let filter = format!("{}>", nodes.prefix);
    // Nobody waits for all of them.
    let none = Event::Node {
        node: session.settings.node.clone(),
        timeout_ms: None,
    };
    let all = DeliverPolicy::LastPerSubject;
    follow(&session, &nodes.stream, filter, all, event, none).await
}
