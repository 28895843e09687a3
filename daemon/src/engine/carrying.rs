//! Carrying out what a protocol asked for during a call.
//!
//! The desk's asks become output, pauses, timers and closes. An ask never calls the protocol: a
//! session that it ends is put on a list, and told of by whoever called.
//!
//! Invariant: `carry_out` leaves the desk empty.

use super::connection::Connection;
use super::deadlines::{Deadlines, What};
use super::desk::Ask;
use super::lists::Lists;
use super::output::{Lines, Spares, Splices};
use super::piece::Piece;
use super::protocol::Protocol;
use super::session::{Closing, End, Token};
use super::streams::Streams;

mod whole;

use whole::take_whole;

impl<P: Protocol> Streams<P> {
    /// Carries out what was asked for during the last call, which was one about `callee`'s session.
    pub(super) fn carry_out(&mut self, callee: Option<Token>, now_ms: u64) {
        if self.protocol.desk().is_clear() {
            return;
        }
        if self.carry_line() {
            return;
        }
        self.count_faults(callee);
        let Streams {
            protocol,
            connections,
            lists,
            deadlines,
            ..
        } = self;
        let desk = protocol.desk();
        let whole = take_whole(desk, connections, &mut self.spares);
        let mut lending = Lending {
            whole,
            to: self.lent_to.filter(|lent_to| callee == Some(*lent_to)),
            spliced: self.lent_to.filter(|_| !self.splices.is_empty()),
            buffer: &self.buffer,
            copied: desk.bytes(),
            lines: desk.said_to_several().then(Lines::default),
            splices: &mut self.splices,
            spares: &mut self.spares,
        };
        for ask in desk.asks() {
            let session = match *ask {
                Ask::TimerSet { timer, delay_ms } => {
                    // At least one: a timer that arms itself again cannot hold up the turn.
                    let at_ms = now_ms.saturating_add(delay_ms.max(1));
                    deadlines.arm(at_ms, What::Timer(timer));
                    continue;
                }
                Ask::Write { session, .. }
                | Ask::File { session, .. }
                | Ask::FinishWriting { session }
                | Ask::Close { session, .. }
                | Ask::Pause { session, .. }
                | Ask::Idle { session, .. } => session,
            };
            if let Some(connection) = connections.get_mut(session) {
                carry_out_one(ask, session, connection, &mut lending, lists);
                // Until a flush has left some of it behind, output has no deadline.
                if !matches!(ask, Ask::Write { .. }) {
                    arm(deadlines, session, connection);
                }
            }
        }
        // A flush, even of nothing, finds out when those refused are writable again.
        for session in desk.refusals() {
            if let Some(connection) = connections.get_mut(*session) {
                let spliced = if lending.to == Some(*session) {
                    lending.splices.bytes()
                } else {
                    0
                };
                connection.refused_at = connection.output.queued() + spliced;
                lists.touch(*session, connection);
            }
        }
        desk.clear();
    }

    pub(super) fn rearm(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            arm(&mut self.deadlines, token, connection);
        }
    }
}

/// Where the bytes of writes are, and what is needed to queue them.
struct Lending<'a> {
    /// Whose output has all of them already.
    whole: Option<Token>,
    /// Whose output may be spliced from the buffer: it is flushed right after.
    to: Option<Token>,
    /// Whose output is so already: what else it is told goes behind that.
    spliced: Option<Token>,
    buffer: &'a [u8],
    copied: &'a [u8],
    /// If the same was said to several.
    lines: Option<Lines>,
    splices: &'a mut Splices,
    spares: &'a mut Spares,
}

impl Lending<'_> {
    /// Whether the splices are this session's, or will be.
    fn is_of(&self, session: Token) -> bool {
        self.to == Some(session) || self.spliced == Some(session)
    }
}

fn carry_out_one<S>(
    ask: &Ask,
    session: Token,
    connection: &mut Connection<S>,
    lending: &mut Lending<'_>,
    lists: &mut Lists,
) {
    match ask {
        Ask::Write { piece, .. } => {
            // Not when its output is on the way out already, or it is over.
            if connection.accepts_writes() {
                if lending.whole.is_none() {
                    write(piece, session, connection, lending);
                }
                lists.touch(session, connection);
            }
        }
        Ask::File { range, .. } => {
            if connection.accepts_writes() {
                let splices_are_its_own = lending.is_of(session);
                let Lending {
                    buffer,
                    splices,
                    spares,
                    ..
                } = lending;
                if splices_are_its_own {
                    let output = &mut connection.output;
                    output.push_range(range.clone(), buffer, splices, spares);
                } else {
                    // Whose splices these are, they are not this one's.
                    let none = &mut Splices::default();
                    connection
                        .output
                        .push_range(range.clone(), &[], none, spares);
                }
                lists.touch(session, connection);
            }
        }
        Ask::FinishWriting { .. } => {
            connection.finish_writing();
            lists.touch(session, connection);
        }
        Ask::Close {
            way: Closing::Abort,
            ..
        } => {
            if connection.close() {
                lists.ending.push_back((session, End::Aborted, true));
            }
        }
        Ask::Close { way, .. } => {
            match way {
                Closing::Done => connection.finish_alone(End::Finished),
                Closing::Finish | Closing::Abort => connection.finish(End::Finished),
            }
            lists.touch(session, connection);
            // What was not to be fed may now be read and dropped.
            lists.resume(session, connection);
        }
        Ask::Pause { on: true, .. } => connection.paused = true,
        Ask::Pause { on: false, .. } => {
            if std::mem::take(&mut connection.paused) {
                connection.feed_again |= !connection.kept.is_empty();
                lists.resume(session, connection);
            }
        }
        Ask::Idle { idle_ms, .. } => connection.set_idle(*idle_ms),
        Ask::TimerSet { .. } => {}
    }
}

fn write<S>(
    piece: &Piece,
    session: Token,
    connection: &mut Connection<S>,
    lending: &mut Lending<'_>,
) {
    let splices_are_its_own = lending.is_of(session);
    let Lending {
        to,
        spliced: _,
        buffer,
        copied,
        lines,
        splices,
        spares,
        whole: _,
    } = lending;
    let output = &mut connection.output;
    match piece {
        Piece::Copied(range) if !splices_are_its_own && let Some(lines) = lines => {
            output.push_line(copied, range, lines, spares);
        }
        Piece::Copied(range) => output.push(&copied[range.clone()], spares),
        Piece::Lent(range) if *to == Some(session) => {
            output.splice(range.clone(), buffer, splices, spares);
        }
        Piece::Lent(range) => output.push(&buffer[range.clone()], spares),
    }
}

/// An earlier moment needs an entry of its own; a later one is found out when the old comes up.
pub(super) fn arm<S>(deadlines: &mut Deadlines, token: Token, connection: &mut Connection<S>) {
    let at_ms = connection.deadline_ms();
    if at_ms < connection.armed_ms {
        connection.armed_ms = at_ms;
        deadlines.arm(at_ms, What::Connection(token));
    }
}
