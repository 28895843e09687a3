//! What may be kept ready: an answer of which every later change can be told; and in which form.
//!
//! A long answer is kept as a file in memory, which the daemon sends without a copy, and of which however many
//! slow peers share one.
//!
//! Nothing here waits for a disk: a file that is not in memory is not kept. Invariant: what is kept was
//! read when its stamp was old enough for any change behind it to leave another one. A program that writes
//! through a shared mapping may leave none: what is kept is then served for `cache_time` at most.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::cache::{Content, KEPT_FILE_BYTES_MAX, Kept, Ready, SETTLED_MS};
use crate::lookup::{self, Stamp};
use crate::reply::{Body, Manner, Request};
use crate::settings::Text;
use crate::site::Site;

/// Whether a change after this moment would show in the stamp.
pub(crate) fn is_settled(stamp: &Stamp, moment: SystemTime) -> bool {
    let since_1970 = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment_ns = i128::try_from(since_1970.as_nanos()).unwrap_or(i128::MAX);
    moment_ns - stamp.last_change_ns() > i128::from(SETTLED_MS) * 1_000_000
}

/// A small file that is asked for again and leaves as it is: kept like a menu, if it is in memory.
pub(crate) fn ready_file(
    site: &Site,
    request: &Request,
    path: &[u8],
    (file, stamp): (&File, &Stamp),
) -> Option<Kept> {
    let leaves_as_it_is = (request.manner, site.choices.text) == (Manner::Gopher, Text::Raw);
    let is_small = (1..=KEPT_FILE_BYTES_MAX).contains(&stamp.size);
    if !leaves_as_it_is || !is_small || !is_settled(stamp, SystemTime::now()) {
        return None;
    }
    Some(Kept::Ready(Arc::new(Ready {
        content: Content::Bytes(lookup::in_memory(file, stamp.size as usize)?.into()),
        made_from: vec![(path.to_vec(), *stamp)],
        outcome: "a file",
    })))
}

impl Content {
    /// Where no file in memory can be made, the bytes are kept as they are.
    pub(crate) fn of(bytes: &Arc<Vec<u8>>) -> Content {
        // What is shorter is copied by whoever sends it.
        let is_long = bytes.len() as u64 > KEPT_FILE_BYTES_MAX;
        match is_long.then(|| memory_file(bytes)) {
            Some(Ok(file)) => Content::File(file, bytes.len() as u64),
            Some(Err(_)) | None => Content::Bytes(Arc::clone(bytes)),
        }
    }

    /// For one peer; nothing if no descriptor is left.
    pub(crate) fn body(&self) -> Option<Body> {
        match self {
            Content::Bytes(bytes) => Some(Body::Bytes(Arc::clone(bytes))),
            Content::File(file, length) => Some(Body::File(file.try_clone().ok()?, *length)),
        }
    }
}

fn memory_file(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("gopher-menu", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_just_changed_is_not_settled_whatever_its_time_says() {
        let moment_ms = 1_000_000;
        let moment = UNIX_EPOCH + std::time::Duration::from_millis(moment_ms);
        for (modified_ago_ms, changed_ago_ms, settled) in [
            (51, 51, true),
            (50, 51, false),
            (51, 50, false),
            // Set back in the moment of the change, or by a clock that runs ahead.
            (900_000, 1, false),
            (-60_000, 1000, false),
        ] {
            let at = |ago_ms: i64| i128::from(moment_ms as i64 - ago_ms) * 1_000_000;
            let stamp = Stamp::of_times(at(modified_ago_ms), at(changed_ago_ms));
            assert_eq!(
                is_settled(&stamp, moment),
                settled,
                "{modified_ago_ms} {changed_ago_ms}"
            );
        }
    }
}
