//! What becomes of a process: everything a worker may do from its birth to its death, good or bad,
//! and what is still heard of it afterwards. It knows nothing of the rules that are checked.

use polyport::lifecycle::{Cause, Event, Exit, News, WorkerId};

use crate::world::{HANG_MS, Happening, World};

impl World {
    pub(crate) fn begin(&mut self, worker: WorkerId) {
        self.pids += 1;
        let pid = self.pids;
        let process = self.process(worker);
        (process.begun, process.pid) = (true, pid);
        self.tell(Event::Worker(worker, News::Spawned { pid }));
        let ready_ms = 1 + self.dice.mostly_below(60, 12_000);
        if self.dice.chance(self.weather.refuses) {
            self.say(
                ready_ms,
                worker,
                News::Refused {
                    text: "bad option".to_owned(),
                },
            );
            if self.dice.chance(70) {
                self.later(ready_ms + 5, Happening::Die(worker, Exit::Code(1), None));
            }
        } else if self.dice.chance(self.weather.dies_early) {
            let (exit, blame) = self.some_exit("in create");
            self.later(ready_ms, Happening::Die(worker, exit, blame));
        } else if self.dice.chance(self.weather.never_ready) {
            self.seen("never ready");
        } else {
            self.say(ready_ms, worker, News::Ready);
            self.serve(worker, ready_ms);
        }
    }

    /// What a worker goes through after it became ready.
    fn serve(&mut self, worker: WorkerId, ready_ms: u64) {
        let after_ms = ready_ms + self.dice.mostly_below(2_000, 90_000);
        if self.dice.chance(10) {
            self.say(after_ms, worker, News::Ready);
        }
        if self.dice.chance(self.weather.refuses) {
            self.seen("refused later");
            self.say(
                after_ms,
                worker,
                News::Refused {
                    text: "odd".to_owned(),
                },
            );
        }
        if self.dice.chance(self.weather.hangs) {
            let news = News::Stuck {
                callback: "feed".to_owned(),
                since_ms: self.now_ms + after_ms.saturating_sub(self.dice.below(100)),
                on_thread: self.dice.chance(30),
            };
            self.say(after_ms, worker, news);
            if self.dice.chance(40) {
                let until_ms = after_ms + self.dice.below(2 * HANG_MS);
                self.say(until_ms, worker, News::Unstuck);
            }
        }
        if self.dice.chance(self.weather.hangs) {
            let until_ms = after_ms + self.dice.below(5_000);
            self.say(after_ms, worker, News::Stopped(true));
            self.say(until_ms, worker, News::Stopped(false));
        }
        if self.dice.chance(self.weather.refuses) {
            let sources = (0..self.dice.below(30)).map(|nth| nth % 3).collect();
            self.say(after_ms, worker, News::Soft { sources });
        }
        if self.dice.chance(self.weather.dies_later) {
            let (exit, blame) = self.some_exit("in feed");
            self.later(after_ms, Happening::Die(worker, exit, blame));
        }
    }

    fn some_exit(&mut self, place: &str) -> (Exit, Option<String>) {
        let exit = match self.dice.below(10) {
            0 => Exit::Code(0),
            1 => Exit::Code(self.dice.below(256) as i32),
            _ => Exit::Signal(1 + self.dice.below(64) as i32),
        };
        (exit, self.dice.chance(70).then(|| place.to_owned()))
    }

    fn some_cause(&mut self) -> Option<Cause> {
        match self.dice.below(8) {
            0 => None,
            1 => Some(Cause::Plugin),
            2 => Some(Cause::Penalised),
            source => Some(Cause::Source(source % 3)),
        }
    }

    pub(crate) fn die(&mut self, worker: WorkerId, exit: Exit, blame: Option<String>) {
        match self.processes.get_mut(&worker) {
            Some(process) if !process.dead => process.dead = true,
            // It came to another end before.
            Some(_) | None => return,
        }
        let reaped_ms = if self.dice.chance(20) {
            self.dice.below(100)
        } else {
            0
        };
        let cause = blame.as_ref().and_then(|_| self.some_cause());
        self.say(reaped_ms, worker, News::Exited { exit, blame, cause });
        if self.dice.chance(20) {
            // Words that were on their way.
            let words = [
                News::Ready,
                News::Unstuck,
                News::Refused {
                    text: "late".to_owned(),
                },
            ];
            let word = words[self.dice.below(3) as usize].clone();
            let said_ms = reaped_ms + self.dice.below(200);
            self.say(said_ms, worker, word);
            self.seen("late word");
        }
    }
}
