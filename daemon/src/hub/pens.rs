//! Pens: topics whose messages a worker numbers itself, because nobody else follows or publishes there.
//!
//! A worker that has published several messages in a row in a topic, and is the only one to follow it,
//! is offered the pen. It takes it, which says that nothing of its is under way; it is given the last
//! number and the ids, and the hub hears afterwards what was written. Whoever else asks for anything in
//! the topic is not heard further until the pen has come back, behind all that was written with it.
//!
//! Invariant: while a pen is out, its topic gets no message but from its holder, each with the next
//! number; a holder that is gone has none.

use super::core::{Hub, MemberId, NOBODY, OUTPUT_BYTES_MAX};
use super::store::{Kept, Store};
use super::topic::Topic;
use super::wire::{Garbled, ID_BYTES_MAX, Ids, MESSAGE_BYTES_MAX, Message, News};

/// Pens of one member: for one more, the oldest is wanted back.
pub const PENS_MAX: usize = 64;
/// Messages in a row of one worker before it is offered the pen: so few need to be asked back.
pub(super) const ROW: u32 = 8;
/// Ids that go into one frame; the longest of them still fit.
const IDS_EACH: usize = 512;

#[derive(Debug)]
pub(super) struct Pen {
    pub(super) holder: MemberId,
    recalled: bool,
}

/// All ids of the topic, in as many frames as they need.
fn write_ids(topic: &Topic, output: &mut Vec<u8>) {
    let mut packed = Vec::new();
    let mut left = topic.ids.all().peekable();
    while left.peek().is_some() {
        packed.clear();
        for (sequence, id) in left.by_ref().take(IDS_EACH) {
            Ids::put(&mut packed, sequence, id);
        }
        let ids = Ids::of(&packed);
        News::Ids { ids }.write(output);
    }
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
        if topic.row.1 < ROW || !self.may_have_pen(id, number) {
            return;
        }
        let (Some(topic), Some(member)) = (self.topics.get_mut(&number), self.members.get(&id))
        else {
            return;
        };
        topic.row = (NOBODY, 0);
        match member.pens.front().copied() {
            Some(oldest) if member.pens.len() >= PENS_MAX => self.recall(oldest),
            _ => {
                let name = topic.name.clone();
                self.say(id, News::Offer { topic: &name });
            }
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
        topic.pen = Some(Pen {
            holder: id,
            recalled: false,
        });
        for (_, token) in &topic.followers {
            if let Some(subscription) = member.subscriptions.get_mut(token) {
                subscription.tells_itself = true;
            }
        }
        write_ids(topic, &mut member.output);
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

    /// Whether what this member asks in a topic has to wait, because another one has the pen.
    pub(super) fn waits_for_pen(&mut self, id: MemberId, service: usize, name: &str) -> bool {
        if self.pens == 0 {
            return false;
        }
        let number = self.services[service].topics.get(name).copied();
        let is_out = |number: &usize| self.holder(*number).is_some_and(|holder| holder != id);
        let Some(number) = number.filter(is_out) else {
            return false;
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.waits_for = Some(number);
        }
        self.recall(number);
        true
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
        if let Some(holder) = self.members.get_mut(&pen.holder) {
            holder.pens.retain(|it| *it != number);
            for (_, token) in &topic.followers {
                if let Some(subscription) = holder.subscriptions.get_mut(token) {
                    subscription.tells_itself = false;
                }
            }
        }
        for member in self.members.values_mut() {
            if member.waits_for == Some(number) {
                member.waits_for = None;
            }
        }
    }
}
