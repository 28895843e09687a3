//! The hub's leases: claims answered, and told to those who watch.
//!
//! Invariant: a watch that was not told of a change has all keys named to it again.

use super::core::{Hub, MemberId, OUTPUT_BYTES_MAX, WATCHES_MAX, Watch};
use super::leases::{Held, Verdict};
use super::store::Store;
use super::wire::{Garbled, News};

impl<S: Store> Hub<S> {
    pub(super) fn claim(&mut self, service: usize, key: &str, claim: Held) {
        let (id, token, value) = (claim.member, claim.token, claim.value.clone());
        match self.services[service].leases.claim(key, claim) {
            Verdict::Won(before) => {
                if let Some(before) = before.filter(|before| before.member != id) {
                    let token = before.token;
                    self.say(
                        before.member,
                        News::Denied {
                            token,
                            value: &value,
                        },
                    );
                }
                self.say(id, News::Won { token });
                self.show(service, key, Some(&value));
            }
            Verdict::Denied(value) => self.say(
                id,
                News::Denied {
                    token,
                    value: &value,
                },
            ),
        }
    }

    pub(super) fn watch(&mut self, id: MemberId, token: u64, prefix: &str) -> Result<(), Garbled> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if member.watches.len() >= WATCHES_MAX {
            return Err(Garbled("more watches than a worker has"));
        }
        let watch = Watch {
            prefix: prefix.to_owned(),
            naming: Some(None),
        };
        if member.watches.insert(token, watch).is_some() {
            return Err(Garbled("a second watch with the same token"));
        }
        let service = member.service;
        self.services[service].leases.watchers.push((id, token));
        self.feed(id);
        Ok(())
    }

    /// Tells those who watch what became of a key.
    pub(super) fn show(&mut self, service: usize, key: &str, value: Option<&[u8]>) {
        let watchers = self.services[service].leases.watchers.clone();
        for (id, token) in watchers {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let full = member.output.len() >= OUTPUT_BYTES_MAX;
            let Some(watch) = member.watches.get_mut(&token) else {
                continue;
            };
            if !key.starts_with(&watch.prefix) {
                continue;
            }
            match &watch.naming {
                // It will be named when its turn comes, or is not there any more.
                Some(named) if named.as_deref().is_none_or(|named| key > named) => {}
                // There is no room to say it: all is named again later.
                _ if full => watch.naming = Some(None),
                _ => self.say(
                    id,
                    match value {
                        Some(value) => News::Held { token, key, value },
                        None => News::Free { token, key },
                    },
                ),
            }
        }
    }

    /// Names to a member's watches the keys that they have not seen, while there is room.
    pub(super) fn name_keys(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let leases = &self.services[member.service].leases;
        for (token, watch) in &mut member.watches {
            let token = *token;
            while let Some(named) = &mut watch.naming {
                if member.output.len() >= OUTPUT_BYTES_MAX {
                    return;
                }
                if named.is_none() {
                    News::Seeing { token }.write(&mut member.output);
                }
                match leases.next(named.as_deref(), &watch.prefix) {
                    Some((key, value)) => {
                        News::Held { token, key, value }.write(&mut member.output);
                        *named = Some(key.to_owned());
                    }
                    None => {
                        News::AllSeen { token }.write(&mut member.output);
                        watch.naming = None;
                    }
                }
                if !std::mem::replace(&mut member.is_touched, true) {
                    self.touched.push(id);
                }
            }
        }
    }
}
