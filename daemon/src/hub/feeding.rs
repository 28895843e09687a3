//! What a member has not had yet, put into its output while that has room.
//!
//! Invariant: a subscription is told of its messages in order and of none twice; what is left out is a
//! number that was never given, or said to be missed.

use super::core::{Hub, MemberId, OUTPUT_BYTES_MAX, Subscription};
use super::store::{Kept, Line, Store};
use super::topic::Topic;
use super::wire::{Message, News};

/// Messages read from history at a time.
const READ_MAX: usize = 64;

impl<S: Store> Hub<S> {
    /// Gives a member what it has not had, as far as its output has room.
    pub(super) fn feed(&mut self, id: MemberId) {
        if self.recovery.is_some() {
            return;
        }
        self.name_keys(id);
        while let Some(member) = self.members.get_mut(&id) {
            let Some(token) = member.hungry.front().copied() else {
                return;
            };
            let Some(subscription) = member.subscriptions.get_mut(&token) else {
                member.hungry.pop_front();
                continue;
            };
            if member.output.len() >= OUTPUT_BYTES_MAX {
                return;
            }
            let Some(topic) = self.topics.get(&subscription.topic) else {
                member.hungry.pop_front();
                continue;
            };
            let service = &self.services[topic.service].name;
            let line = Line {
                service,
                topic: &topic.name,
            };
            let holes = self.cluster.is_some();
            let had = feed_one(
                &mut self.store,
                (line, holes),
                topic,
                token,
                subscription,
                &mut member.output,
            );
            member.owed_stored |= had.messages;
            if had.all {
                member.hungry.pop_front();
                if subscription.caught_up && !subscription.live {
                    member.subscriptions.remove(&token);
                }
            } else {
                // Others of this member have their turn.
                member.hungry.rotate_left(1);
            }
            member.touch(id, &mut self.touched);
        }
    }
}

/// Writes the message's frame; returns where its token stands.
pub(super) fn begin_message(frame: &mut Vec<u8>, message: &Kept) -> usize {
    frame.clear();
    write_message(frame, 0, message);
    // Behind the length and the kind.
    5
}

fn write_message(out: &mut Vec<u8>, token: u64, kept: &Kept) {
    let message = Message {
        sequence: kept.sequence,
        time_ms: kept.time_ms,
        id: &kept.id,
        bytes: &kept.bytes,
    };
    News::Message { token, message }.write(out);
}

struct Had {
    /// It has all there is.
    all: bool,
    messages: bool,
}

/// The next messages of one subscription.
fn feed_one<S: Store>(
    store: &mut S,
    (line, holes): (Line<'_>, bool),
    topic: &Topic,
    token: u64,
    subscription: &mut Subscription,
    output: &mut Vec<u8>,
) -> Had {
    let until = *subscription.until.get_or_insert(topic.last);
    let end = match subscription.live {
        true => topic.last,
        false => until,
    };
    let mut had = Had {
        all: false,
        messages: false,
    };
    let in_memory = topic
        .latest
        .front()
        .map_or(topic.last + 1, |it| it.sequence);
    if subscription.next <= end && subscription.next < in_memory {
        // Memory begins later: history has it, or nobody.
        let oldest = store.oldest(line).unwrap_or(in_memory).min(in_memory);
        let rows = match subscription.next < oldest {
            true => Vec::new(),
            false => store.read(line, subscription.next, READ_MAX),
        };
        let mut rows = rows
            .into_iter()
            .take_while(|it| it.sequence < in_memory && it.sequence <= end)
            .peekable();
        if rows.peek().is_none() {
            let last = if subscription.next < oldest {
                oldest
            } else {
                in_memory
            } - 1;
            let is_hole = store.keeps() && subscription.next >= oldest;
            let lost = match holes && store.keeps() {
                true => store.given_up(line),
                false => last,
            };
            let (from, to) = (subscription.next, last.min(end).min(lost));
            if !subscription.whatever && !is_hole && from <= to {
                News::Missed { token, from, to }.write(output);
            }
            subscription.next = last + 1;
        }
        for kept in rows {
            catch_up(token, subscription, kept.sequence - 1, output);
            write_message(output, token, &kept);
            subscription.next = kept.sequence + 1;
            had.messages = true;
        }
    } else {
        let first = topic.position(subscription.next);
        for kept in topic.latest.iter().skip(first) {
            if kept.sequence > end || output.len() >= OUTPUT_BYTES_MAX {
                break;
            }
            catch_up(token, subscription, kept.sequence - 1, output);
            write_message(output, token, kept);
            subscription.next = kept.sequence + 1;
            had.messages = true;
        }
        let left = topic.position(subscription.next);
        let more = topic.latest.get(left).is_some_and(|it| it.sequence <= end);
        if !more {
            subscription.next = subscription.next.max(end + 1);
        }
    }
    if subscription.next > until {
        catch_up(token, subscription, until, output);
    }
    had.all = subscription.next > end;
    if had.all {
        subscription.hungry = false;
    }
    had
}

/// Says that all was told that was there at first, once everything up to `so_far` has been.
fn catch_up(token: u64, subscription: &mut Subscription, so_far: u64, output: &mut Vec<u8>) {
    let until = subscription.until.unwrap_or(0);
    if !subscription.caught_up && so_far >= until {
        subscription.caught_up = true;
        let sequence = until;
        News::CaughtUp { token, sequence }.write(output);
    }
}
