//! Pens: topics whose messages a worker numbers itself, because nobody else follows or publishes there.
//!
//! A worker that has published several messages in a row in a topic, and is the only one to follow it,
//! is offered the pen. It takes it, which says that nothing of its is under way; it is given the last
//! number and the ids, and the hub hears afterwards what was written. Whoever else asks for anything in
//! the topic is heard once the pen has come back, behind all that was written with it. A pen that comes
//! back before it was worth its ids is lent again after a longer row.
//!
//! Invariant: while a pen is out, its topic gets no message but from its holder, each with the next
//! number; a holder that is gone has none.

use std::collections::VecDeque;

use super::core::{Hub, MemberId, NOBODY, OUTPUT_BYTES_MAX};
use super::ids::IDS_MAX;
use super::store::{Kept, Store};
use super::topic::Topic;
use super::wire::{Ask, Garbled, ID_BYTES_MAX, MESSAGE_BYTES_MAX, Message, News, PackedIds};

/// Pens of one member: there is no other for it before one has come back.
pub const PENS_MAX: usize = 64;
/// Messages in a row of one worker before it is offered the pen: so few need to be asked back. Twice as
/// many after each that came back too early, up to as many as there are ids to send.
pub(super) const ROW: u32 = 8;
const ROW_MAX: u32 = IDS_MAX as u32;
/// Of what one member asks while pens are out: more than a worker has under way.
const PUT_OFF_BYTES_MAX: usize = 16 << 20;
/// Ids that go into one frame; the longest of them still fit.
const IDS_EACH: usize = 512;

#[derive(Debug)]
pub(super) struct Lent {
    pub(super) holder: MemberId,
    recalled: bool,
    /// With it went so many ids, and this number.
    ids: usize,
    last: u64,
}

impl Lent {
    /// Whether so many messages were written with it, up to this one, as ids went with it.
    fn was_worth_it(&self, last: u64) -> bool {
        last - self.last >= self.ids as u64
    }
}

/// What somebody has asked in a topic whose pen is out.
#[derive(Debug)]
pub(super) struct PutOff {
    member: MemberId,
    topic: usize,
    content: Box<[u8]>,
    time_ms: u64,
}

/// All ids of the topic, in as many frames as they need; how many they are.
fn write_ids(topic: &Topic, output: &mut Vec<u8>) -> usize {
    let mut count = 0;
    let mut packed = Vec::new();
    let mut left = topic.ids.all().peekable();
    while left.peek().is_some() {
        packed.clear();
        for (sequence, id) in left.by_ref().take(IDS_EACH) {
            PackedIds::put(&mut packed, sequence, id);
            count += 1;
        }
        let ids = PackedIds::of(&packed);
        News::Ids { ids }.write(output);
    }
    count
}

const _: () = assert!(IDS_EACH * (12 + ID_BYTES_MAX) <= MESSAGE_BYTES_MAX);

impl<S: Store> Hub<S> {
    /// A member's message was numbered here.
    pub(super) fn count_row(&mut self, id: MemberId, number: usize) {
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        match &mut topic.row {
            (before, count) if *before == id => *count = count.saturating_add(1),
            row => *row = (id, 1),
        }
        if topic.row.1 < topic.row_enough || !self.may_have_pen(id, number) {
            return;
        }
        let (Some(topic), Some(member)) = (self.topics.get_mut(&number), self.members.get(&id))
        else {
            return;
        };
        topic.row = (NOBODY, 0);
        // One that is asked back for another takes all its ids there and back: of many topics that are
        // spoken in by turns, each line would cost that.
        if member.pens.len() < PENS_MAX {
            let name = topic.name.clone();
            self.say(id, News::Offer { topic: &name });
        }
    }

    /// Whether nobody else follows the topic, and the member itself has had all of it.
    fn may_have_pen(&self, id: MemberId, number: usize) -> bool {
        let (Some(topic), Some(member)) = (self.topics.get(&number), self.members.get(&id)) else {
            return false;
        };
        let has_all = |(follower, token): &(MemberId, u64)| {
            let subscription = member.subscriptions.get(token);
            *follower == id && subscription.is_some_and(|it| it.caught_up && !it.hungry)
        };
        let is_alone = !topic.followers.is_empty() && topic.followers.iter().all(has_all);
        let is_able = member.knows_pens && !member.deaf;
        let may_give = self.cluster.is_none() && self.recovery.is_none() && topic.pen.is_none();
        // What is written is told to be stored, or its worker could not forget it.
        is_alone
            && is_able
            && may_give
            && member.output.len() < OUTPUT_BYTES_MAX / 2
            && self.store.keeps()
    }

    /// The offer is taken: nothing of this member's is under way in the topic.
    pub(super) fn take_pen(&mut self, id: MemberId, service: usize, name: &str) {
        let number = self.services[service].topics.get(name).copied();
        let number = number.filter(|number| self.may_have_pen(id, *number));
        let (Some(number), Some(member)) = (number, self.members.get_mut(&id)) else {
            return self.say(id, News::Recall { topic: name });
        };
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        member.pens.push_back(number);
        self.pens += 1;
        topic.pen = Some(Lent {
            holder: id,
            recalled: false,
            ids: write_ids(topic, &mut member.output),
            last: topic.last,
        });
        for (_, token) in &topic.followers {
            if let Some(subscription) = member.subscriptions.get_mut(token) {
                subscription.tells_itself = true;
            }
        }
        let pen = News::Pen {
            topic: name,
            last: topic.last,
            time_ms: topic.latest.back().map_or(0, |it| it.time_ms),
        };
        self.say(id, pen);
    }

    /// A message that its publisher has numbered.
    pub(super) fn wrote(
        &mut self,
        id: MemberId,
        service: usize,
        name: &str,
        message: Message<'_>,
    ) -> Result<(), Garbled> {
        let number = self.pen_of(id, service, name)?;
        let last = self.topics.get(&number).map_or(0, |topic| topic.last);
        if message.sequence != last + 1 {
            return Err(Garbled("a number that is not the next"));
        }
        self.admit(number, Kept::of(message));
        if let Some(member) = self.members.get_mut(&id) {
            member.written += 1;
            member.owed_stored = true;
        }
        Ok(())
    }

    pub(super) fn return_pen(
        &mut self,
        id: MemberId,
        service: usize,
        name: &str,
    ) -> Result<(), Garbled> {
        let number = self.pen_of(id, service, name)?;
        self.has_come_back(number);
        self.say(id, News::Returned);
        Ok(())
    }

    /// The topic that this member numbers.
    fn pen_of(&self, id: MemberId, service: usize, name: &str) -> Result<usize, Garbled> {
        let number = self.services[service].topics.get(name).copied();
        number
            .filter(|number| self.holder(*number) == Some(id))
            .ok_or(Garbled("what only the holder of a pen says"))
    }

    pub(super) fn holder(&self, number: usize) -> Option<MemberId> {
        let pen = self.topics.get(&number)?.pen.as_ref()?;
        Some(pen.holder)
    }

    /// The topic, if what this member asks there has to wait because another one has the pen.
    pub(super) fn needs_pen(&self, id: MemberId, service: usize, name: &str) -> Option<usize> {
        if self.pens == 0 {
            return None;
        }
        let number = self.services[service].topics.get(name).copied()?;
        let holder = self.holder(number)?;
        (holder != id).then_some(number)
    }

    /// The pen is wanted back, and this ask is heard once it is here. Others of the member are heard
    /// meanwhile: among them may be the return of a pen for which the holder waits.
    pub(super) fn put_off(
        &mut self,
        id: MemberId,
        number: usize,
        content: &[u8],
        time_ms: u64,
    ) -> Result<(), Garbled> {
        let member = self.members.get_mut(&id).ok_or(Garbled("a stranger"))?;
        member.put_off_bytes += content.len();
        if member.put_off_bytes > PUT_OFF_BYTES_MAX {
            return Err(Garbled("more than a worker has to ask at a time"));
        }
        self.put_off.push_back(PutOff {
            member: id,
            topic: number,
            content: content.into(),
            time_ms,
        });
        self.recall(number);
        Ok(())
    }

    /// A subscription has ended before it was heard of.
    pub(super) fn put_off_no_more(&mut self, id: MemberId, ended: u64) {
        let is_it = |it: &PutOff| {
            let ask = Ask::read(&it.content);
            it.member == id && matches!(ask, Ok(Ask::Subscribe { token, .. }) if token == ended)
        };
        let Some(at) = self.put_off.iter().position(is_it) else {
            return;
        };
        if let (Some(it), Some(member)) = (self.put_off.remove(at), self.members.get_mut(&id)) {
            member.put_off_bytes -= it.content.len();
        }
    }

    fn hear_put_off(&mut self, number: usize) {
        let mut others = VecDeque::new();
        for it in std::mem::take(&mut self.put_off) {
            match it.topic == number {
                true => self.hear_late(&it),
                false => others.push_back(it),
            }
        }
        self.put_off = others;
    }

    fn hear_late(&mut self, it: &PutOff) {
        let (id, number) = (it.member, it.topic);
        let here = self.members.get_mut(&id).map(|member| {
            member.put_off_bytes -= it.content.len();
            (member.service, member.deaf)
        });
        // What breaks a rule is left out: its worker is past the moment at which it could be refused.
        let _ = match (Ask::read(&it.content), here) {
            (
                Ok(Ask::Publish {
                    token,
                    id: name,
                    bytes,
                    ..
                }),
                _,
            ) => {
                let latest = self.topics.get(&number).and_then(|it| it.latest.back());
                let time_ms = latest.map_or(0, |it| it.time_ms).max(it.time_ms);
                self.number(id, token, number, name, bytes, time_ms);
                Ok(())
            }
            (Ok(Ask::Restore { topic, message }), Some((service, _))) => {
                self.restore(service, topic, message)
            }
            (
                Ok(Ask::Subscribe {
                    token,
                    topic,
                    start,
                    live,
                }),
                Some((_, false)),
            ) => self.subscribe(id, token, topic, start, live),
            _ => Ok(()),
        };
    }

    fn recall(&mut self, number: usize) {
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        if let Some(pen) = &mut topic.pen
            && !std::mem::replace(&mut pen.recalled, true)
        {
            let (holder, name) = (pen.holder, topic.name.clone());
            self.say(holder, News::Recall { topic: &name });
        }
    }

    /// What is written cannot be stored any more: the hub numbers everything itself.
    pub fn recall_all(&mut self) {
        if self.pens == 0 {
            return;
        }
        let out: Vec<usize> = self
            .members
            .values()
            .flat_map(|it| it.pens.clone())
            .collect();
        for number in out {
            self.recall(number);
        }
    }

    /// All that this member will ever have said was heard.
    pub fn heard_all(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        for number in member.pens.clone() {
            self.has_come_back(number);
        }
    }

    /// The hub numbers the topic again, and hears those who wait for that.
    fn has_come_back(&mut self, number: usize) {
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        let Some(pen) = topic.pen.take() else {
            return;
        };
        self.pens -= 1;
        topic.row = (NOBODY, 0);
        topic.row_enough = match pen.was_worth_it(topic.last) {
            true => ROW,
            false => ROW_MAX.min(topic.row_enough * 2),
        };
        if let Some(holder) = self.members.get_mut(&pen.holder) {
            holder.pens.retain(|it| *it != number);
            for (_, token) in &topic.followers {
                if let Some(subscription) = holder.subscriptions.get_mut(token) {
                    subscription.tells_itself = false;
                }
            }
        }
        self.hear_put_off(number);
    }
}

#[cfg(test)]
mod tests;
