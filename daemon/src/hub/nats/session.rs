//! One connection to NATS, from the first word to the end of it.
//!
//! The client's own way of connecting again is switched off: what it had not sent yet would leave after
//! what is said anew, and messages would change their order. Whatever fails here ends the session, and
//! says why in words for the administrator; the next one begins from what the hub has.
//!
//! Invariant: `Up` is told once, when the server has greeted and this node is entered; nothing is told
//! after the end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;

use super::backend::Events;
use super::bucket::{Bucket, Freed};
use super::cluster::{Event, Request};
use super::markers::{self, Markers};
use super::{bucket, names, stream};
use crate::plan::{NatsPlan, Tls};

/// A server that does not answer for so long is taken for gone.
const ANSWER_MS: u64 = 5_000;
const CONNECT_MS: u64 = 5_000;
/// Between two questions whether it is there; after two without an answer it is not.
const PING_MS: u64 = 2_000;
/// What a server refuses is said no more often, however often it is refused.
const REFUSALS_MS: u64 = 1_000;
/// Longer than any session: the client never connects again by itself.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What a hub uses NATS with.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Settings {
    pub(in crate::hub) plan: NatsPlan,
    pub(in crate::hub) node: String,
    pub(in crate::hub) history: u64,
    pub(in crate::hub) keep_ms: u64,
}

/// How a session ended.
pub(super) enum Over {
    /// The hub ends.
    Asked,
    Broken {
        why: String,
        was_up: bool,
    },
}

/// Why a session cannot go on, for the administrator.
pub(super) type Trouble = String;

/// A service that is followed on this connection.
pub(super) struct Service {
    pub(super) name: String,
    /// What is added to the stream's numbers.
    pub(super) base: u64,
    pub(super) leases: Bucket,
    pub(super) markers: Markers,
}

pub(super) struct Session {
    pub(super) settings: Arc<Settings>,
    pub(super) context: Context,
    pub(super) events: Events,
    services: Mutex<HashMap<usize, Arc<Service>>>,
    refusals: Mutex<Refusals>,
}

/// What a server refused, on one connection.
#[derive(Default)]
struct Refusals {
    said: Option<Instant>,
    /// Since then.
    unsaid: u64,
}

pub(super) async fn run(
    settings: &Arc<Settings>,
    asked: &mut Receiver<(u64, Request)>,
    events: &Events,
    link: u64,
) -> Over {
    let broken = |was_up| move |why| Over::Broken { why, was_up };
    // Its end, and what the server refuses.
    let (said, mut hears) = mpsc::channel::<async_nats::Event>(16);
    let limit = Duration::from_millis(2 * CONNECT_MS);
    let opened = tokio::time::timeout(limit, open(settings, events, said)).await;
    let opened = opened.unwrap_or_else(|_| {
        let servers = settings.plan.servers.join(", ");
        Err(format!("{servers}: no answer in {CONNECT_MS} ms"))
    });
    let (session, nodes) = match opened {
        Ok(opened) => opened,
        Err(why) => return broken(false)(why),
    };
    if !events.tell(Event::Up).await {
        return Over::Asked;
    }
    let server = session.context.client().server_info();
    tracing::info!(
        "bus: NATS is there: {} {}, as node {}",
        server.server_name,
        server.version,
        settings.node
    );
    let session = Arc::new(session);
    let mut tasks = JoinSet::new();
    tasks.spawn(bucket::follow_nodes(Arc::clone(&session), nodes.clone()));
    tasks.spawn(bucket::say_alive(Arc::clone(&session), nodes.clone()));
    loop {
        tokio::select! {
            request = asked.recv() => match request {
                None => return Over::Asked,
                Some((of, request)) if of == link => match request {
                    Request::Leave => {
                        bucket::leave(&session, &nodes).await;
                        return Over::Asked;
                    }
                    request => session.clone().carry_out(request, &mut tasks),
                },
                // It was asked of a connection before this one.
                Some(_) => {}
            },
            Some(done) = tasks.join_next() => match done {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return broken(true)(why),
                Err(error) => return broken(true)(format!("a task ended: {error}")),
            },
            event = hears.recv() => match event {
                Some(async_nats::Event::ServerError(error)) => {
                    session.complain(&format!("the NATS server says: {error}"));
                }
                None | Some(async_nats::Event::Disconnected | async_nats::Event::Closed) => {
                    return broken(true)("the connection was lost".to_owned());
                }
                Some(_) => {}
            },
        }
    }
}

async fn open(
    settings: &Arc<Settings>,
    events: &Events,
    said: mpsc::Sender<async_nats::Event>,
) -> Result<(Session, Bucket), Trouble> {
    let plan = &settings.plan;
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&is_open);
    let options = identify(plan)
        .await?
        .name(format!("polyport hub {}", settings.node))
        .connection_timeout(Duration::from_millis(CONNECT_MS))
        .request_timeout(Some(Duration::from_millis(ANSWER_MS)))
        .ping_interval(Duration::from_millis(PING_MS))
        .reconnect_delay_callback(move |_| match opened.load(Ordering::Relaxed) {
            true => NEVER,
            false => Duration::ZERO,
        })
        .event_callback(move |event| {
            let said = said.clone();
            async move {
                // Who has not heard of one end does not need to hear of the next.
                let _ = said.try_send(event);
            }
        });
    let servers = plan.servers.join(", ");
    let client = options
        .connect(plan.servers.as_slice())
        .await
        .map_err(|error| format!("{servers}: {}", in_words(&error)))?;
    is_open.store(true, Ordering::Relaxed);
    let mut context = async_nats::jetstream::new(client);
    context.set_timeout(Duration::from_millis(ANSWER_MS));
    let nodes = bucket::open(&context, names::nodes(&plan.prefix), settings, true).await?;
    bucket::enter(settings, &context, &nodes).await?;
    let session = Session {
        settings: Arc::clone(settings),
        context,
        events: events.clone(),
        services: Mutex::default(),
        refusals: Mutex::default(),
    };
    Ok((session, nodes))
}

/// Who this is to the servers, and how they prove who they are. Files are read each time, as they may
/// be others by now.
async fn identify(plan: &NatsPlan) -> Result<ConnectOptions, Trouble> {
    let mut options = ConnectOptions::new();
    if let Some(path) = &plan.credentials {
        let text = read(path).await?;
        let secret = text.trim();
        options = match &plan.user {
            Some(user) => options.user_and_password(user.clone(), secret.to_owned()),
            None if text.contains("-----BEGIN") => options
                .credentials(&text)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None if secret.starts_with("SU") => options.nkey(secret.to_owned()),
            None => options.token(secret.to_owned()),
        };
    }
    options = match plan.tls {
        Tls::Auto => options,
        Tls::Required => options.require_tls(true),
        Tls::First => options.tls_first(),
    };
    for path in [plan.ca.as_deref()].into_iter().flatten() {
        read(path).await?;
        options = options.add_root_certificates(path.to_owned());
    }
    if let Some((certificate, key)) = &plan.certificate {
        read(certificate).await?;
        read(key).await?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// The client does not say which file it could not read.
async fn read(path: &Path) -> Result<String, Trouble> {
    let read = std::fs::read_to_string(path);
    read.map_err(|error| {
        format!(
            "{}: {error}; the hub reads it as the daemon's user",
            path.display()
        )
    })
}

/// What a client's error says, with all that it was caused by.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Session {
    fn carry_out(self: Arc<Self>, request: Request, tasks: &mut JoinSet<Result<(), Trouble>>) {
        match request {
            Request::Follow {
                service,
                name,
                after,
            } => drop(tasks.spawn(self.follow(service, name, after))),
            Request::Publish {
                serial,
                service,
                topic,
                id,
                bytes,
            } => drop(tasks.spawn(async move {
                let Some(service) = self.service(service) else {
                    return Ok(());
                };
                let prefix = &self.settings.plan.prefix;
                let subject = names::subject(prefix, &service.name, &topic);
                let mut message = PublishMessage::build().payload(bytes.to_vec().into());
                if !id.is_empty() {
                    message = message.message_id(names::message_id(&topic, &id));
                }
                let sequence = self.publish(subject, message).await?;
                let sequence = sequence.map(|sequence| service.base + sequence);
                self.tell(Event::Published { serial, sequence }).await
            })),
            Request::Put {
                service,
                key,
                lease,
                expected,
            } => drop(tasks.spawn(async move {
                let Some(known) = self.service(service) else {
                    return Ok(());
                };
                let answer = bucket::put(&self.context, &known.leases, &key, &lease, expected);
                let answer = answer.await?;
                self.tell(Event::Put {
                    service,
                    key,
                    answer,
                })
                .await
            })),
            Request::Delete {
                service,
                key,
                revision,
                last,
            } => drop(tasks.spawn(async move {
                let Some(known) = self.service(service) else {
                    return Ok(());
                };
                let freed = bucket::delete(&self.context, &known.leases, &key, revision, &last);
                let freed = freed.await?;
                if let Freed::By(marker) = freed {
                    known.markers.add(marker, tokio::time::Instant::now());
                }
                let nothing = matches!(freed, Freed::Before);
                self.tell(Event::Deleted {
                    service,
                    key,
                    nothing,
                })
                .await
            })),
            Request::Leave => {}
        }
    }

    async fn follow(
        self: Arc<Self>,
        number: usize,
        name: String,
        after: u64,
    ) -> Result<(), Trouble> {
        let (stream, base) = stream::open(&self.context, &self.settings, &name).await?;
        let bucket = names::leases(&self.settings.plan.prefix, &name);
        let leases = bucket::open(&self.context, bucket, &self.settings, false).await?;
        let markers = Markers::default();
        let service = Arc::new(Service {
            name,
            base,
            leases,
            markers,
        });
        self.known().insert(number, Arc::clone(&service));
        tokio::try_join!(
            stream::follow_messages(&self, number, &service, &stream, after),
            bucket::follow_leases(&self, number, &service),
            markers::take_away(Arc::clone(&service)),
        )
        .map(drop)
    }

    /// `None` if the server refuses this message and might take the next one.
    async fn publish(
        &self,
        subject: String,
        message: PublishMessage,
    ) -> Result<Option<u64>, Trouble> {
        let error = match self.context.send_publish(subject.clone(), message).await {
            Ok(answer) => match answer.await {
                Ok(taken) => return Ok(Some(taken.sequence)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        match error.kind() {
            PublishErrorKind::Other | PublishErrorKind::MaxPayloadExceeded => {
                let why = in_words(&error);
                self.complain(&format!(
                    "the NATS server does not take a message of {subject}: {why}"
                ));
                Ok(None)
            }
            _ => Err(format!("{subject}: {}", in_words(&error))),
        }
    }

    fn complain(&self, text: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = refusals.heard(Instant::now()) {
            match unsaid {
                0 => tracing::error!("bus: {text}"),
                _ => tracing::error!("bus: {text} (and {unsaid} such lines before)"),
            }
        }
    }

    pub(super) async fn tell(&self, event: Event) -> Result<(), Trouble> {
        match self.events.tell(event).await {
            true => Ok(()),
            false => Err("the hub is gone".to_owned()),
        }
    }

    fn service(&self, number: usize) -> Option<Arc<Service>> {
        self.known().get(&number).cloned()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// One more; how many were not said before it, if it is to be said.
    fn heard(&mut self, now: Instant) -> Option<u64> {
        let pause = Duration::from_millis(REFUSALS_MS);
        if self
            .said
            .is_some_and(|said| now.duration_since(said) < pause)
        {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_all_the_time_is_said_once_a_second() {
        let (mut refusals, begin) = (Refusals::default(), Instant::now());
        let rows = [
            (0, Some(0)),
            (1, None),
            (999, None),
            (1_000, Some(2)),
            (1_500, None),
            (2_500, Some(1)),
            (4_000, Some(0)),
        ];
        for (at_ms, said) in rows {
            let now = begin + Duration::from_millis(at_ms);
            assert_eq!(refusals.heard(now), said, "at {at_ms} ms");
        }
    }
}
