//! `polyport.carry/1` from the daemon's side: a session as the plugin's own bytes, and back.
//!
//! Invariant: what a plugin says to have written is bounded before it is read; a session whose export
//! or import is refused is left as it was, and was never made.

use std::ffi::c_void;
use std::ptr::null_mut;

use polyport_plugin::abi::{self, Status};
use slotmap::Key;

use super::calls::{or_status, with_text};
use super::error::LoadError;
use super::extension::{self, table_of};
use super::facts;
use super::instance::{Instance, SessionState};
use crate::engine::carried::SESSION_BYTES_MAX;
use crate::engine::session::{Facts, Token};
use crate::scoreboard::Callback;

// The header promises what travels.
const _: () = assert!(SESSION_BYTES_MAX as u64 == abi::CARRY_BYTES_MAX);

type Export = unsafe extern "C" fn(
    *mut c_void,
    abi::Session,
    *mut c_void,
    *mut u8,
    usize,
    *mut usize,
) -> Status;
type Import = unsafe extern "C" fn(
    *mut c_void,
    abi::Session,
    *const abi::SessionInfo,
    u32,
    *const u8,
    usize,
    *mut *mut c_void,
    *mut abi::Text,
) -> Status;

/// The extension of a plugin that carries sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carry {
    format: u32,
    export: Export,
    import: Import,
}

/// # Safety
///
/// `table` is an admitted plugin's.
pub(super) unsafe fn read_carry(table: &abi::Plugin) -> Result<Option<Carry>, LoadError> {
    let bad = |why: &str| LoadError::BadExtension {
        id: abi::EXT_CARRY,
        why: why.to_owned(),
    };
    // SAFETY: the header says so of this id.
    let found = unsafe { table_of::<abi::Carry1>(table, extension::CARRY) };
    let Some(found) = found.map_err(|why| bad(&why))? else {
        return Ok(None);
    };
    if found.format == 0 {
        return Err(bad("its `format` is 0"));
    }
    let both = found.export_session.zip(found.import_session);
    let (export, import) = both.ok_or_else(|| bad("one of its functions is NULL"))?;
    Ok(Some(Carry {
        format: found.format,
        export,
        import,
    }))
}

impl Instance {
    pub(super) fn export_session(
        &mut self,
        session: Token,
        state: SessionState,
    ) -> Option<(u32, Vec<u8>)> {
        let carry = self.admitted.carry?;
        // Made once, and asked for as zeros: most sessions need a few bytes of it, and what was never
        // written takes no memory.
        let mut space = std::mem::take(&mut self.space);
        if space.is_empty() {
            space = vec![0; SESSION_BYTES_MAX];
        }
        let mut written = 0;
        let SessionState { word, source } = state;
        let callback = Callback::ExportSession;
        let status = self.call(callback, session, source, &[], |instance| {
            let (object, number) = (instance.object, session.data().as_ffi());
            let (into, room) = (space.as_mut_ptr(), space.len());
            // SAFETY: object and state are the plugin's own; the memory lives during the call.
            unsafe { (carry.export)(object, number, word, into, room, &mut written) }
        });
        let verdict = self.verdict(callback, session, status);
        let exported = space.get(..written).map(<[u8]>::to_vec);
        self.space = space;
        verdict.ok()?;
        if exported.is_none() {
            let what = format!("it claims to have written {written} bytes");
            self.report_fault(callback, session, &what);
        }
        Some((carry.format, exported?))
    }

    pub(super) fn import_session(
        &mut self,
        session: Token,
        facts: &Facts<'_>,
        format: u32,
        bytes: &[u8],
    ) -> Result<SessionState, String> {
        let Some(carry) = self.admitted.carry else {
            return Err("the plugin carries no sessions".to_owned());
        };
        self.inside().peers.insert(session, facts.peer);
        let info = facts::session(facts);
        let source = facts.peer.source();
        let mut word = null_mut();
        let callback = Callback::ImportSession;
        let (status, text) = self.call(callback, session, source, &[], |instance| {
            let (object, number) = (instance.object, session.data().as_ffi());
            with_text(|why| {
                let (start, n) = (bytes.as_ptr(), bytes.len());
                // SAFETY: the object is the plugin's own; all that is lent lives during the call.
                unsafe { (carry.import)(object, number, &info, format, start, n, &mut word, why) }
            })
        });
        if self.verdict(callback, session, status).is_err() {
            self.inside().peers.remove(session);
            return Err(or_status(text, status));
        }
        Ok(SessionState { word, source })
    }
}
