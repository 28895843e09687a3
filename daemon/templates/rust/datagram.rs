//! A sample for datagrams: each comes back in capitals.
//!
//! An answer is never longer than its question, so nobody can turn it on others by forging a source.
#![forbid(unsafe_code)]

use polyport_plugin::prelude::*;

/// What all datagrams share: nothing here.
#[derive(Default)]
pub struct Shout;

impl Protocol for Shout {
    type Session = ();

    const STREAMS: bool = false;
    const DATAGRAMS: bool = true;

    fn datagram(&mut self, cx: &mut Context, from: &Datagram, payload: &[u8]) -> Result {
        if payload.is_empty() || from.is_to_many() {
            return Ok(());
        }
        cx.reply(from.reply_token(), &payload.to_ascii_uppercase())
    }
}

export_plugin!(Shout, name = "@NAME@");
