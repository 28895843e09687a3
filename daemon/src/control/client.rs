//! The operator's side of the control socket: one question, one answer, a bounded wait.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::{Reply, Request};
use crate::exit;

/// No honest answer is longer.
const REPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A connection to a daemon that answered one question.
#[derive(Debug)]
pub struct Call {
    reader: BufReader<UnixStream>,
    socket: PathBuf,
    patience: Duration,
}

/// Asks; the connection is kept for [`Call::wait_for_end`].
pub fn ask(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<(serde_json::Value, Call), Failure> {
    let stream = UnixStream::connect(socket).map_err(|error| not_reached(socket, &error))?;
    let in_time = |error: io::Error| no_answer(socket, patience, &error);
    stream.set_read_timeout(Some(patience)).map_err(in_time)?;
    stream.set_write_timeout(Some(patience)).map_err(in_time)?;
    let mut line = serde_json::to_vec(request).expect("a request is plain data");
    line.push(b'\n');
    (&stream).write_all(&line).map_err(in_time)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut reader)
        .take(REPLY_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(in_time)?;
    let reply: Reply = serde_json::from_slice(&line).map_err(|error| Failure {
        exit: exit::FAILED,
        text: format!(
            "{}: the answer is not understood: {error}",
            socket.display()
        ),
    })?;
    match reply.error {
        Some(text) => Err(Failure {
            exit: reply.exit,
            text,
        }),
        None => Ok((
            reply.answer,
            Call {
                reader,
                socket: socket.to_owned(),
                patience,
            },
        )),
    }
}

impl Call {
    /// Until the daemon has gone.
    pub fn wait_for_end(mut self) -> Result<(), Failure> {
        match self.reader.read(&mut [0]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(no_answer(&self.socket, self.patience, &error)),
        }
    }
}

fn not_reached(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure {
            exit: exit::NOT_RUNNING,
            text: format!(
                "no daemon answers at {socket}; start one with `polyport run`, or name the \
                 right place with -c FILE or --socket PATH"
            ),
        },
        ErrorKind::PermissionDenied => Failure {
            exit: exit::NOT_PERMITTED,
            text: format!("{socket}: no permission; try as root or as the daemon's user"),
        },
        _ => Failure {
            exit: exit::FAILED,
            text: format!("{socket}: {error}"),
        },
    }
}

fn no_answer(socket: &Path, patience: Duration, error: &io::Error) -> Failure {
    let (socket, seconds) = (socket.display(), patience.as_secs());
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure {
            exit: exit::TIMED_OUT,
            text: format!("{socket}: no answer within {seconds} s; the outcome is not known"),
        },
        _ => Failure {
            exit: exit::FAILED,
            text: format!("{socket}: {error}"),
        },
    }
}
