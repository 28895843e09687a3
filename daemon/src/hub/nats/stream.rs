//! Streams: one for each service, with all its topics, so that one subscription brings them all.
//!
//! A message's number is its place in the stream behind the moment at which the stream was made, in
//! microseconds: so the numbers of a stream that was lost and made again are above all that went before,
//! on whatever node, and none is given twice.
//!
//! Invariant: what is told is in the stream's order; who follows from a number hears all above it that
//! the stream still has.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, Stream};
use futures_util::StreamExt;

use super::cluster::Event;
use super::names;
use super::session::{Service, Session, Settings, Trouble, in_words};
use crate::hub::store::Kept;
use crate::hub::wire::MESSAGE_BYTES_MAX;

/// How long the server itself knows a message again.
const DUPLICATES_MS: u64 = 120_000;
/// Silence after which nothing more that is old is waited for.
const SILENCE_MS: u64 = 1_000;

/// With what is added to its numbers. It is made if it is not there.
pub(super) async fn open(
    context: &Context,
    settings: &Settings,
    service: &str,
) -> Result<(Stream, u64), Trouble> {
    let prefix = &settings.plan.prefix;
    let name = names::stream(prefix, service);
    let stream = match context.get_stream(&name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => {
            let wanted = stream::Config {
                name: name.clone(),
                description: Some(format!("what is said on the bus of {service}")),
                subjects: vec![format!("{prefix}.{service}.>")],
                max_messages_per_subject: i64::try_from(settings.history).unwrap_or(i64::MAX),
                max_age: Duration::from_millis(settings.keep_ms),
                duplicate_window: Duration::from_millis(DUPLICATES_MS.min(settings.keep_ms)),
                num_replicas: settings.plan.replicas,
                ..stream::Config::default()
            };
            let made = context.create_stream(wanted).await;
            match (made, context.get_stream(&name).await) {
                (_, Ok(stream)) => stream,
                (Err(error), Err(_)) => {
                    return Err(format!("stream {name}: {}", in_words(&error)));
                }
                (Ok(_), Err(error)) => {
                    return Err(format!("stream {name}: {}", in_words(&error)));
                }
            }
        }
        Err(error) => {
            return Err(format!(
                "stream {name}: {}; is JetStream switched on there, and may this user use it?",
                in_words(&error)
            ));
        }
    };
    let made = stream.cached_info().created.unix_timestamp_nanos() / 1_000;
    let base = u64::try_from(made).unwrap_or(0);
    Ok((stream, base))
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    let code = async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND;
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == code)
}

pub(super) async fn follow_messages(
    session: &Session,
    number: usize,
    service: &Service,
    stream: &Stream,
    after: u64,
) -> Result<(), Trouble> {
    let name = names::stream(&session.settings.plan.prefix, &service.name);
    let last = stream.cached_info().state.last_sequence;
    let had = after.saturating_sub(service.base);
    if had > last {
        tracing::error!(
            "bus: stream {name} ends at {last}, and this node has had {had}: the server has lost \
             messages, and those that follow are not told. Delete the stream: the next one has \
             numbers above all of them"
        );
    }
    let start_sequence = had + 1;
    let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence };
    let subjects = names::subject(&session.settings.plan.prefix, &service.name, "");
    let start = subjects.len() - 1;
    let event = |message: &Message| {
        let place = message.info().ok()?;
        let topic = names::name(message.subject.get(start..)?)?;
        let id = message.headers.as_ref().and_then(|all| {
            let id = all.get(async_nats::header::NATS_MESSAGE_ID)?;
            Some(names::id(id.as_str()))
        });
        if message.payload.len() > MESSAGE_BYTES_MAX {
            let sequence = place.stream_sequence;
            tracing::warn!(
                "bus: stream {name}: message {sequence} is left out: no daemon says one so long"
            );
            return None;
        }
        let time_ms = place.published.unix_timestamp_nanos() / 1_000_000;
        let kept = Kept {
            sequence: service.base + place.stream_sequence,
            time_ms: u64::try_from(time_ms).unwrap_or(0),
            id: id.unwrap_or_default().into(),
            bytes: message.payload.as_ref().into(),
        };
        Some(Event::Message {
            service: number,
            topic,
            kept,
        })
    };
    let synced = Event::Synced { service: number };
    follow(
        session,
        stream,
        String::new(),
        deliver_policy,
        event,
        synced,
    )
    .await
}

/// Tells what each message means, as they come, and `all` once what was there has been told.
pub(super) async fn follow(
    session: &Session,
    stream: &Stream,
    filter_subject: String,
    deliver_policy: DeliverPolicy,
    mut event: impl FnMut(&Message) -> Option<Event>,
    all: Event,
) -> Result<(), Trouble> {
    let name = &stream.cached_info().config.name;
    let trouble = |error: &dyn std::error::Error| format!("stream {name}: {}", in_words(error));
    let wanted = push::OrderedConfig {
        deliver_subject: session.context.client().new_inbox(),
        filter_subject,
        deliver_policy,
        ..push::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(wanted).await;
    let consumer = consumer.map_err(|error| trouble(&error))?;
    let mut all = Some(all);
    if consumer.cached_info().num_pending == 0
        && let Some(all) = all.take()
    {
        session.tell(all).await?;
    }
    let mut messages = consumer.messages().await.map_err(|error| trouble(&error))?;
    loop {
        let next = match all.is_some() {
            true => {
                let patience = Duration::from_millis(SILENCE_MS);
                match tokio::time::timeout(patience, messages.next()).await {
                    Ok(next) => next,
                    // What was still to come has gone meanwhile.
                    Err(_) => {
                        if let Some(all) = all.take() {
                            session.tell(all).await?;
                        }
                        continue;
                    }
                }
            }
            false => messages.next().await,
        };
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(trouble(&error)),
            None => return Err(format!("stream {name}: the subscription ended")),
        };
        let left = message.info().map_or(0, |place| place.pending);
        if let Some(event) = event(&message) {
            session.tell(event).await?;
        }
        if left == 0
            && let Some(all) = all.take()
        {
            session.tell(all).await?;
        }
    }
}
