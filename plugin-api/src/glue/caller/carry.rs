//! The plugin's `polyport.carry/1` as safe calls.
//!
//! Invariant: the memory for an export is exactly as long as is said, and what is behind the bytes
//! that were written is not looked at.

use std::ptr;

use super::{Plugin, State, lent};
use crate::abi;
use crate::facts::Address;

impl Plugin {
    /// The format and the bytes.
    pub(crate) fn export(
        &self,
        session: abi::Session,
        state: State,
    ) -> Result<(u32, Vec<u8>), String> {
        let carry = self.carry.ok_or("the plugin carries no sessions")?;
        let export = carry.export_session.ok_or("export_session is NULL")?;
        let mut bytes = vec![0; abi::CARRY_BYTES_MAX as usize];
        let mut written = 0;
        // SAFETY: instance and session are alive; the memory lives until the call has returned.
        let status = unsafe {
            let (into, capacity) = (bytes.as_mut_ptr(), bytes.len());
            let written = &raw mut written;
            export(self.instance, session, state.0, into, capacity, written)
        };
        if status != abi::OK {
            return Err(format!("export_session answered {status}"));
        }
        if written > bytes.len() {
            return Err(format!(
                "export_session claims to have written {written} bytes"
            ));
        }
        bytes.truncate(written);
        Ok((carry.format, bytes))
    }

    pub(crate) fn import(
        &self,
        session: abi::Session,
        peer: Address,
        accepted_ms: u64,
        format: u32,
        bytes: &[u8],
    ) -> Result<State, String> {
        let carry = self.carry.ok_or("the plugin carries no sessions")?;
        let import = carry.import_session.ok_or("import_session is NULL")?;
        let info = lent::session_info(peer, accepted_ms);
        let exact: Box<[u8]> = bytes.into();
        let mut state = ptr::null_mut();
        let mut why = lent::Message::new();
        // SAFETY: the instance is alive; all that is lent lives until the call has returned.
        let status = unsafe {
            let (start, n) = (exact.as_ptr(), exact.len());
            let (info, place) = (&raw const info, &raw mut state);
            let instance = self.instance;
            import(
                instance,
                session,
                info,
                format,
                start,
                n,
                place,
                why.as_raw(),
            )
        };
        let taken = why.refusal(status).map(|()| State(state));
        taken.map_err(|refusal| refusal.to_string())
    }
}
