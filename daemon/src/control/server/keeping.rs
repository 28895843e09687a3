//! A server described, so that another program in the same process can go on with it: its listener
//! and everybody who is connected, with what they have said and not yet heard.
//!
//! Descriptors are named by places in somebody else's list.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};

use super::{Caller, Credentials, Doors, Server, State};
use crate::plan::Operators;

#[derive(Debug, Serialize, Deserialize)]
pub struct KeptServer {
    path: PathBuf,
    listener: usize,
    callers: Vec<KeptCaller>,
    tickets: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptCaller {
    stream: usize,
    credentials: Credentials,
    request: Vec<u8>,
    reply: Vec<u8>,
    audited: Option<String>,
    state: State,
    leaves_ms: u64,
}

impl Server {
    pub fn describe<'a>(&'a self, mut keep: impl FnMut(BorrowedFd<'a>) -> usize) -> KeptServer {
        let listener = keep(self.listener.as_fd());
        let callers = self.callers.iter().map(|caller| KeptCaller {
            stream: keep(caller.stream.as_fd()),
            credentials: caller.credentials,
            request: caller.request.clone(),
            reply: caller.reply.clone(),
            audited: caller.audited.clone(),
            state: caller.state,
            leaves_ms: caller.leaves_ms,
        });
        KeptServer {
            path: self.path.clone(),
            listener,
            callers: callers.collect(),
            tickets: self.tickets,
        }
    }

    /// The path is removed with this value, so nothing may fail after it was made.
    ///
    /// # Errors
    ///
    /// When `take` has not what is asked of it, or the listener is none.
    pub fn adopt(
        kept: KeptServer,
        operators: &Operators,
        mut take: impl FnMut(usize) -> Result<OwnedFd, String>,
    ) -> Result<Server, String> {
        let mut doors = Doors::new();
        doors.admit(operators);
        let listener = take(kept.listener)?;
        if getsockopt(&listener, sockopt::AcceptConn) != Ok(true) {
            return Err("the control socket does not listen".to_owned());
        }
        let callers = kept.callers.into_iter().map(|caller| {
            Ok(Caller {
                stream: take(caller.stream)?.into(),
                credentials: caller.credentials,
                request: caller.request,
                reply: caller.reply,
                audited: caller.audited,
                state: caller.state,
                leaves_ms: caller.leaves_ms,
            })
        });
        Ok(Server {
            callers: callers.collect::<Result<_, String>>()?,
            listener: listener.into(),
            path: kept.path,
            doors,
            away_until_ms: None,
            tickets: kept.tickets,
        })
    }
}
