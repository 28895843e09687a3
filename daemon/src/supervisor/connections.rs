//! `connections`: workers are asked what they have open, and those who asked are told.
//!
//! Each worker gets a memory file to answer in, and a bounded time. Nobody waits here: what has come is
//! collected once all have answered, or the time is up; a worker that is stuck is then named. A
//! worker's words are read up to a bound, and only numbers and addresses are taken from them.
//!
//! Invariant: every question is answered once, and a worker's answer counts for one question.

use std::collections::BTreeMap;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::children::{Children, Kind};
use super::life::Life;
use crate::channel::{ConnectionFilter, ConnectionsOrder, OpenConnections, Order, handed};
use crate::control::{ConnectionList, ListedConnection, Reply};
use crate::exit;
use crate::lifecycle::WorkerId;

/// A worker that has not answered by then is called silent.
const ANSWER_MS: u64 = 1_000;
/// Connections in one answer; more are counted only.
const LISTED_MAX: usize = 4_096;
/// Questions that wait for their answers.
const LOOKS_MAX: usize = 16;

/// What workers have been asked.
#[derive(Default)]
pub(super) struct Looks {
    asked: u64,
    open: BTreeMap<u64, Look>,
    /// Of questions that are over; they may still be answered.
    late: Vec<(WorkerId, u64)>,
    /// Who asked the program that was here before.
    orphans: Vec<u64>,
}

/// Questions described, so that another program neither mistakes their answers nor forgets who asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptLooks {
    asked: u64,
    late: Vec<(WorkerId, u64)>,
    tickets: Vec<u64>,
}

struct Look {
    ticket: u64,
    end: bool,
    until_ms: u64,
    /// The worker, its service, its name, its answer's file, and whether it has said that it is there.
    workers: Vec<Asked>,
}

struct Asked {
    worker: WorkerId,
    service: String,
    name: String,
    file: OwnedFd,
    heard: bool,
}

impl Looks {
    pub(super) fn describe(&self) -> KeptLooks {
        let unheard = self.open.iter().flat_map(|(number, look)| {
            let workers = look.workers.iter().filter(|asked| !asked.heard);
            workers.map(|asked| (asked.worker, *number))
        });
        KeptLooks {
            asked: self.asked,
            late: self.late.iter().copied().chain(unheard).collect(),
            tickets: self.open.values().map(|look| look.ticket).collect(),
        }
    }

    pub(super) fn adopt(kept: KeptLooks) -> Looks {
        Looks {
            asked: kept.asked,
            open: BTreeMap::new(),
            late: kept.late,
            orphans: kept.tickets,
        }
    }

    /// False if nobody has asked for it.
    pub(super) fn heard(&mut self, worker: WorkerId, number: u64) -> bool {
        if let Some(at) = self.late.iter().position(|late| *late == (worker, number)) {
            self.late.swap_remove(at);
            return true;
        }
        let look = self.open.get_mut(&number);
        let mut asked = look.into_iter().flat_map(|look| &mut look.workers);
        match asked.find(|asked| asked.worker == worker && !asked.heard) {
            Some(asked) => {
                asked.heard = true;
                true
            }
            None => false,
        }
    }

    /// It will not answer any more.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.late.retain(|(late, _)| *late != worker);
        for look in self.open.values_mut() {
            look.workers.retain(|asked| asked.worker != worker);
        }
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.open.values().map(Look::due_ms).min()
    }

    fn take_due(&mut self, now_ms: u64) -> Option<Look> {
        let mut due = self.open.iter().filter(|(_, look)| look.due_ms() <= now_ms);
        let number = *due.next()?.0;
        let look = self.open.remove(&number)?;
        let silent = look.workers.iter().filter(|asked| !asked.heard);
        self.late.extend(silent.map(|asked| (asked.worker, number)));
        Some(look)
    }
}

impl Look {
    fn due_ms(&self) -> u64 {
        match self.workers.iter().all(|asked| asked.heard) {
            true => 0,
            false => self.until_ms,
        }
    }

    fn conclude(self) -> ConnectionList {
        let mut list = ConnectionList {
            ended: self.end,
            ..ConnectionList::default()
        };
        for asked in self.workers {
            let said = handed::read::<OpenConnections>(&asked.file);
            let Some(said) = said.ok().filter(|_| asked.heard) else {
                list.silent.push(asked.name);
                continue;
            };
            list.left_out = list.left_out.saturating_add(said.left_out);
            for open in said.connections {
                if list.connections.len() == LISTED_MAX {
                    list.left_out = list.left_out.saturating_add(1);
                    continue;
                }
                list.connections.push(ListedConnection {
                    id: format!(
                        "{}.{}.{:x}",
                        asked.name, asked.worker.generation, open.token
                    ),
                    service: asked.service.clone(),
                    worker: asked.name.clone(),
                    generation: asked.worker.generation,
                    peer: open.peer.map_or("unix".to_owned(), |peer| peer.to_string()),
                    local: open.local.map_or("unix".to_owned(), |at| at.to_string()),
                    age_ms: open.age_ms,
                    idle_ms: open.idle_ms,
                    bytes_in: open.bytes_in,
                    bytes_out: open.bytes_out,
                    queued: open.queued,
                });
            }
        }
        list
    }
}

impl Life {
    /// Asks all workers whom the filter can mean; the answer follows by the ticket.
    pub(super) fn look_at_connections(
        &mut self,
        ticket: u64,
        filter: &ConnectionFilter,
        end: bool,
        children: &mut Children,
        now_ms: u64,
    ) {
        let refused = |text: String| Reply::failed(exit::FAILED, text);
        let begun = match self.looks.open.len() {
            LOOKS_MAX => Err(refused("too many ask at once; try again".to_owned())),
            _ if end && filter.is_everything() => {
                Err(refused(
                    "say which connections are to end: a SERVICE, --source, --older, --idle or --kill ID"
                        .to_owned(),
                ))
            }
            _ => self.ask_workers(filter, end, children).map_err(refused),
        };
        match begun {
            Ok(workers) => {
                let look = Look {
                    ticket,
                    end,
                    until_ms: now_ms + ANSWER_MS,
                    workers,
                };
                self.looks.open.insert(self.looks.asked, look);
            }
            Err(reply) => self.control.reply(ticket, &reply, now_ms),
        }
    }

    fn ask_workers(
        &mut self,
        filter: &ConnectionFilter,
        end: bool,
        children: &Children,
    ) -> Result<Vec<Asked>, String> {
        self.chosen(filter.service.as_deref())?;
        self.looks.asked += 1;
        let number = self.looks.asked;
        let mut meant = Vec::new();
        for (pid, child) in children.iter() {
            let Kind::Worker { id, name, .. } = &child.kind else {
                continue;
            };
            let Some(service) = self.services.get(&id.service).map(|s| s.name.clone()) else {
                continue;
            };
            if filter.service.as_ref().is_some_and(|name| *name != service) {
                continue;
            }
            let token = match &filter.id {
                None => None,
                Some(written) => match token_of(written, name, id.generation) {
                    Some(token) => Some(token),
                    None => continue,
                },
            };
            meant.push((pid, *id, service, name.clone(), token));
        }
        if meant.is_empty() && filter.id.is_some() {
            return Err("there is no worker of that id; `polyport connections` lists them".into());
        }
        let share = LISTED_MAX / meant.len().max(1);
        let mut workers = Vec::new();
        for (pid, worker, service, name, token) in meant {
            let file = handed::answer_file().map_err(|error| format!("no file: {error}"))?;
            let order = Order::Connections(ConnectionsOrder {
                number,
                filter: filter.clone(),
                token,
                list_max: share.max(16),
                end,
            });
            // One that cannot be told is one that does not read: it will be called silent.
            let told = children.tell_with(pid, &order, &[file.as_fd()]);
            if let Err(error) = told {
                tracing::debug!("{name} is not asked for its connections: {error}");
            }
            workers.push(Asked {
                worker,
                service,
                name,
                file,
                heard: false,
            });
        }
        Ok(workers)
    }

    /// Answers those whose workers have all spoken, or whose time is up.
    pub(super) fn conclude_looks(&mut self, now_ms: u64) {
        for ticket in mem::take(&mut self.looks.orphans) {
            let text = "the daemon was upgraded meanwhile; ask again";
            self.control
                .reply(ticket, &Reply::failed(exit::TIMED_OUT, text), now_ms);
        }
        while let Some(look) = self.looks.take_due(now_ms) {
            let ticket = look.ticket;
            let reply = Reply::of(&look.conclude());
            self.control.reply(ticket, &reply, now_ms);
        }
    }
}

/// "echo/1.2.100000001": worker, generation, token.
fn token_of(id: &str, worker: &str, generation: u32) -> Option<u64> {
    let rest = id.strip_prefix(worker)?.strip_prefix('.')?;
    let (number, token) = rest.split_once('.')?;
    (number.parse() == Ok(generation)).then_some(())?;
    u64::from_str_radix(token, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::ServiceId;

    #[test]
    fn an_id_means_one_connection_of_one_worker() {
        for (id, token) in [
            ("echo/1.2.1f", Some(0x1f)),
            ("echo/1.3.1f", None),
            ("echo/11.2.1f", None),
            ("echo/1.2", None),
            ("echo/1.2.x", None),
            ("", None),
        ] {
            assert_eq!(token_of(id, "echo/1", 2), token, "{id}");
        }
    }

    #[test]
    fn each_worker_answers_each_question_once() {
        let worker = |slot| WorkerId {
            service: ServiceId(1),
            generation: 1,
            slot,
            incarnation: 1,
        };
        let asked = |slot| Asked {
            worker: worker(slot),
            service: "a".to_owned(),
            name: format!("a/{}", slot + 1),
            file: handed::answer_file().expect("made"),
            heard: false,
        };
        let mut looks = Looks::default();
        let look = Look {
            ticket: 3,
            end: false,
            until_ms: 1_000,
            workers: vec![asked(0), asked(1)],
        };
        looks.open.insert(9, look);
        assert!(!looks.heard(worker(2), 9) && !looks.heard(worker(0), 8));
        assert!(looks.heard(worker(0), 9) && !looks.heard(worker(0), 9));
        assert!(looks.take_due(999).is_none());
        let list = looks.take_due(1_000).expect("its time is up").conclude();
        // The one that spoke wrote nothing that can be read.
        assert_eq!(list.silent, ["a/1", "a/2"]);
        // The other may still speak, once, also to another program.
        let mut looks = Looks::adopt(looks.describe());
        assert!(looks.heard(worker(1), 9) && !looks.heard(worker(1), 9));
    }
}
