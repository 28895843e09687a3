//! The raw calls of a plugin's functions, one wrapper each way in.
//!
//! A call is announced on the scoreboard before it is made, so that a crash or a hang inside it can
//! be blamed; what the plugin wrote through our pointers is bounded before it is read. What a status
//! means for a session is decided in `instance`.
//!
//! Invariant: between entering and leaving, no reference into the host state is alive.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use polyport_plugin::abi::{self, Status};

use super::admit::Admitted;
use super::error::LoadError;
use super::host_api::TABLE;
use super::host_state::HostState;
use super::options::Chosen;
use super::settings::{self, InstanceFacts};
use super::text::escaped;
use crate::scoreboard::{Callback, Slot};

const REFUSAL_BYTES_MAX: usize = 1024;

/// While it lives, the scoreboard says that this thread is inside a callback.
pub(super) struct Inside<'a>(&'a Slot);

impl Inside<'_> {
    #[inline]
    pub(super) fn enter(slot: &Slot, callback: Callback, session: u64, source: u64) -> Inside<'_> {
        slot.enter(callback, session, source);
        Inside(slot)
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Admitted {
    /// The plugin's own word on its settings, before any instance exists.
    pub fn check(&self, chosen: &Chosen, facts: &InstanceFacts<'_>) -> Result<(), LoadError> {
        let Some(check) = self.table.0.check else {
            return Ok(());
        };
        let (status, text) = with_text(|text| {
            // SAFETY: settings and text live during the call, which is all the header grants.
            settings::lend(chosen, facts, |settings| unsafe { check(settings, text) })
        });
        if status < 0 {
            return Err(LoadError::CheckRefused {
                text: or_status(text, status),
            });
        }
        Ok(())
    }

    /// Makes the plugin's object; a plugin without `create` has a null one.
    pub(super) fn create(
        &self,
        host: &'static HostState,
        chosen: &Chosen,
        facts: &InstanceFacts<'_>,
    ) -> Result<*mut c_void, LoadError> {
        let Some(create) = self.table.0.create else {
            return Ok(null_mut());
        };
        let mut object = null_mut();
        let (status, text) = with_text(|text| {
            settings::lend(chosen, facts, |settings| {
                // SAFETY: the table is static and the host state never freed; the rest lives
                // during the call, which is all the header grants.
                unsafe { create(&TABLE, host.as_ptr(), settings, &mut object, text) }
            })
        });
        if status < 0 {
            return Err(LoadError::CreateRefused {
                text: or_status(text, status),
            });
        }
        Ok(object)
    }
}

/// Lends memory for an error text and returns what the plugin wrote there.
pub(super) fn with_text(call: impl FnOnce(*mut abi::Text) -> Status) -> (Status, String) {
    let mut bytes = [0_u8; REFUSAL_BYTES_MAX];
    let ptr = bytes.as_mut_ptr().cast::<c_char>();
    let mut text = abi::Text {
        ptr,
        cap: bytes.len(),
        len: 0,
    };
    let status = call(&mut text);
    // A plugin may claim any length; the memory is ours and zeroed, so the cap is enough.
    let length = text.len.min(bytes.len());
    (status, escaped(&bytes[..length], REFUSAL_BYTES_MAX))
}

pub(super) fn or_status(text: String, status: Status) -> String {
    if text.is_empty() {
        return format!("it gives no reason, only {}", status_name(status));
    }
    text
}

pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        abi::E_ARG => "PP_E_ARG",
        abi::E_UNSUPPORTED => "PP_E_UNSUPPORTED",
        abi::E_GONE => "PP_E_GONE",
        abi::E_FULL => "PP_E_FULL",
        abi::E_CONFIG => "PP_E_CONFIG",
        abi::E_PANIC => "PP_E_PANIC",
        abi::E_CANCELLED => "PP_E_CANCELLED",
        abi::E_TIMEOUT => "PP_E_TIMEOUT",
        abi::E_THREAD => "PP_E_THREAD",
        abi::E_BUSY => "PP_E_BUSY",
        0.. => "PP_OK",
        _ => "PP_E_FAIL",
    }
}
