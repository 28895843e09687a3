//! What the host lends for one call, read into safe types.
//!
//! Everything here borrows from the host's memory for a lifetime that the caller chooses; it must
//! not be longer than the call. Texts are checked, sizes compared, nulls answered: a host that breaks
//! the rules is refused, not trusted.

use std::ffi::c_char;
use std::time::Duration;

use crate::abi::{self, Published};
use crate::facts::{Address, Credentials, Datagram, Facts, ReplyToken};
use crate::options::{Kind, Opt, Settings, Value};

/// # Safety
/// `len` bytes at `ptr` stay readable and unchanged for `'a`; `ptr` may be null if `len` is 0.
pub(crate) unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// # Safety
/// As for [`bytes`].
unsafe fn text<'a>(raw: abi::Bytes) -> Result<&'a str, String> {
    // SAFETY: passed on to the caller.
    let bytes = unsafe { bytes(raw.ptr, raw.len) };
    std::str::from_utf8(bytes).map_err(|_| "the host passed a text that is not UTF-8".to_owned())
}

/// # Safety
/// `raw` is null or points to facts that stay valid for `'a` and say their size.
pub(crate) unsafe fn facts<'a>(raw: *const abi::SessionInfo) -> Option<Facts<'a>> {
    // SAFETY: the caller vouches for the pointer.
    let raw = unsafe { sized(raw)? };
    let credentials = Credentials {
        pid: raw.peer_pid,
        uid: raw.peer_uid,
        gid: raw.peer_gid,
    };
    Some(Facts {
        peer: Address::from_raw(&raw.peer),
        local: Address::from_raw(&raw.local),
        accepted: Duration::from_millis(raw.accepted_ms),
        // SAFETY: the endpoint lives as long as the facts.
        endpoint: unsafe { text(raw.endpoint) }.ok()?,
        credentials: (raw.flags & abi::INFO_CREDENTIALS != 0).then_some(credentials),
        proxied: raw.flags & abi::INFO_PROXIED != 0,
    })
}

/// # Safety
/// As for [`facts`].
pub(crate) unsafe fn datagram<'a>(raw: *const abi::Datagram) -> Option<Datagram<'a>> {
    // SAFETY: the caller vouches for the pointer.
    let raw = unsafe { sized(raw)? };
    Some(Datagram {
        peer: Address::from_raw(&raw.peer),
        local: Address::from_raw(&raw.local),
        reply_token: ReplyToken(raw.reply_token),
        // SAFETY: the endpoint lives as long as the facts.
        endpoint: unsafe { bytes(raw.endpoint.ptr, raw.endpoint.len) },
        proxied: raw.flags & abi::INFO_PROXIED != 0,
        to_many: raw.flags & abi::INFO_TO_MANY != 0,
    })
}

/// # Safety
/// `raw` is null or points to settings that stay valid for `'a` and say their size.
pub(crate) unsafe fn settings<'a>(
    raw: *const abi::Settings,
    options: &'static [Opt],
) -> Result<Settings<'a>, String> {
    // SAFETY: the caller vouches for the pointer.
    let raw = unsafe { sized(raw) }.ok_or("the host passed no settings, or too short ones")?;
    let stride = raw.value_stride as usize;
    let fits = raw.value_count as usize == options.len()
        && (options.is_empty() || (!raw.values.is_null() && stride >= abi::Value::BYTES_MIN));
    if !fits {
        return Err(format!(
            "the host passed {} values of {stride} bytes for {} options",
            raw.value_count,
            options.len()
        ));
    }
    let mut values = Vec::with_capacity(options.len());
    for (index, option) in options.iter().enumerate() {
        // SAFETY: `index` is below the count of rows, which lie a stride apart.
        let row = unsafe { raw.values.byte_add(index * stride) };
        // SAFETY: a row is as long as the stride, which was checked to be long enough.
        let row: abi::Value = unsafe { abi::read_bytes(row.cast(), stride) };
        // SAFETY: what a value points to lives as long as the settings.
        values.push((unsafe { value(&row, option)? }, row.written != 0));
    }
    Ok(Settings {
        options,
        values,
        // SAFETY: as above.
        service: unsafe { text(raw.service)? },
        // SAFETY: as above.
        raw_json: unsafe { text(raw.raw_json)? },
        // SAFETY: as above.
        endpoints: unsafe { texts(raw.endpoints, raw.endpoint_count)? },
        // SAFETY: as above.
        udp_ports: unsafe { ports(raw.udp_ports, raw.udp_port_count) },
        worker_index: raw.worker_index,
        worker_count: raw.worker_count,
        generation: raw.generation,
    })
}

/// # Safety
/// What `raw` points to stays valid for `'a`.
unsafe fn value<'a>(raw: &abi::Value, option: &Opt) -> Result<Value<'a>, String> {
    if raw.kind != option.kind as u32 {
        return Err(format!(
            "the host passed option {:?} as kind {}",
            option.name, raw.kind
        ));
    }
    Ok(match option.kind {
        // SAFETY: passed on to the caller.
        Kind::Text => Value::Text(unsafe { text(raw.text)? }),
        Kind::Integer => Value::Integer(raw.number),
        Kind::Boolean => Value::Boolean(raw.number != 0),
        Kind::Duration => Value::Duration(Duration::from_millis(positive(raw.number, option)?)),
        Kind::Size => Value::Size(positive(raw.number, option)?),
        // SAFETY: passed on to the caller.
        Kind::List => Value::List(unsafe { texts(raw.items, raw.item_count)? }),
    })
}

/// # Safety
/// There are so many texts at `ptr`, which stay valid for `'a`; `ptr` may be null if there are none.
unsafe fn texts<'a>(ptr: *const abi::Bytes, count: usize) -> Result<Vec<&'a str>, String> {
    let mut texts = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: the caller says that there are so many.
        let raw = unsafe { *ptr.add(index) };
        // SAFETY: passed on to the caller.
        texts.push(unsafe { text(raw)? });
    }
    Ok(texts)
}

/// # Safety
/// There are so many numbers at `ptr`, which stay valid for `'a`; `ptr` may be null if there are none.
unsafe fn ports<'a>(ptr: *const u16, count: usize) -> &'a [u16] {
    if ptr.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { std::slice::from_raw_parts(ptr, count) }
}

fn positive(number: i64, option: &Opt) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("the host passed {number} for {:?}", option.name))
}

/// Writes a message into the caller's memory, cut at a character's border.
///
/// # Safety
/// `into` is null or the caller's text, which nobody else uses during the call.
pub(crate) unsafe fn write_text(into: *mut abi::Text, message: &str) {
    // SAFETY: the caller vouches for the pointer.
    let Some(into) = (unsafe { into.as_mut() }) else {
        return;
    };
    let mut len = message.len().min(into.cap);
    while !message.is_char_boundary(len) {
        len -= 1;
    }
    into.len = len;
    if len > 0 && !into.ptr.is_null() {
        // SAFETY: `cap` bytes at `ptr` are the caller's and `len` is not above that; the message is
        // ours, so the two do not overlap.
        unsafe {
            message
                .as_ptr()
                .cast::<c_char>()
                .copy_to_nonoverlapping(into.ptr, len)
        };
    }
}

/// # Safety
/// `raw` is null, or points to a `T` that is readable as far as its size says.
unsafe fn sized<T: abi::Sized32>(raw: *const T) -> Option<T> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { abi::read_sized(raw) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        for (cap, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aä"), (9, "aä")] {
            let mut memory = [0u8; 9];
            let mut into = abi::Text {
                ptr: memory.as_mut_ptr().cast(),
                cap,
                len: 99,
            };
            // SAFETY: the memory above has at least `cap` bytes.
            unsafe { write_text(&raw mut into, "aä") };
            assert_eq!(&memory[..into.len], expected.as_bytes(), "cap {cap}");
        }
    }
}
