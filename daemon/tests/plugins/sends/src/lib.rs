//! Sends files of one folder: each line is an order.
//!
//! For the daemon's tests, which see from outside that files leave whole and in order, or end in a
//! way that a peer notices.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use polyport_plugin::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};

struct Sends {
    root: PathBuf,
}

impl Configure for Sends {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let root = settings.text("root").into();
        Ok(Sends { root })
    }
}

impl Sends {
    fn obey(&self, cx: &mut Context, from: SessionId, order: &str) -> Result {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["say", word] => cx.write(from, format!("{word}\n").as_bytes()),
            ["file", name, offset, length] => {
                let file = File::open(self.root.join(name)).map_err(|_| Error::Failed)?;
                send(cx, from, file, (offset, length))
            }
            ["memory", name, offset, length] => {
                let copy = self.in_memory(name).map_err(|_| Error::Failed)?;
                send(cx, from, copy, (offset, length))
            }
            // Reads a pipe to its end, on a thread that can do nothing else meanwhile.
            ["hold", name] => {
                let pipe = self.root.join(name);
                cx.work(move || fs::read(pipe).is_ok()).map(drop)
            }
            _ => cx.close(from, "as told"),
        }
    }

    /// What is in a file, as a file that is in memory and nowhere else.
    fn in_memory(&self, name: &str) -> io::Result<File> {
        let mut copy = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        copy.write_all(&fs::read(self.root.join(name))?)?;
        Ok(copy)
    }
}

fn send(cx: &mut Context, to: SessionId, file: File, (offset, length): (&str, &str)) -> Result {
    let number = |text: &str| text.parse().map_err(|_| Error::Failed);
    match cx.send_file(to, file, number(offset)?, number(length)?) {
        Err(Error::Argument) => cx.write(to, b"refused\n"),
        other => other,
    }
}

impl Protocol for Sends {
    type Session = ();
    const OPTIONS: &'static [Opt] = &[Opt::text(c"root", c"The folder whose files are sent.")];
    const NEEDS: Needs = Needs {
        files_read: &[c"$root"],
        ..Needs::NOTHING
    };

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let text = std::str::from_utf8(input).map_err(|_| Error::Failed)?;
        let mut consumed = 0;
        for line in text.split_inclusive('\n') {
            let Some(order) = line.strip_suffix('\n') else {
                break;
            };
            match self.obey(cx, from, order) {
                // What is left is fed again once there is room.
                Err(Error::Full) if consumed > 0 => break,
                other => other?,
            }
            consumed += line.len();
        }
        Ok(consumed)
    }

    fn worked(&mut self, cx: &mut Context, _: WorkId, result: Result<Box<dyn Any + Send>>) {
        let read = result
            .ok()
            .and_then(|read| read.downcast::<bool>().ok().map(|read| *read));
        cx.info(format!("the pipe was read: {read:?}"));
    }

    fn closed(&mut self, cx: &mut Context, session: SessionId, (): (), why: End) {
        cx.log(Level::Info, Some(session), format!("closed: {why:?}"));
    }
}

export_plugin!(Sends, name = "sends");
