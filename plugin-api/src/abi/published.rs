//! How long each table and row was when it was published, and how one of any length is read.
//!
//! The numbers are literals and stay, however much longer a struct of ours becomes: what was built with
//! 1.0 says 1.0's sizes for ever, in either direction. They are held against the committed layout of
//! 1.0 by `tests/layout.rs`. What a field means, and which of them may be missing, is not known here.
//!
//! Invariant: nothing is read past what the other side says it has, and what it lacks is zero.

use core::mem::MaybeUninit;

use super::{
    Blocking1, Bus1, BusMessage, BusSink1, Carry1, Datagram, File1, HostApi, Metric, Metrics1,
    Needs1, OptionRow, Plugin, SessionInfo, Settings, Stream, Value, Work1, WorkSink1,
};

/// A struct that crosses the border by its address.
///
/// # Safety
/// All zero bytes are a valid one, and all of its fields are plain: numbers, nullable pointers and
/// optional functions.
pub unsafe trait Published {
    /// Its name in the header.
    const NAME: &'static str;
    /// What every one of this major has.
    const BYTES_MIN: usize;
}

/// One that begins with its size, as a `uint32_t`.
///
/// # Safety
/// Its first field is that.
pub unsafe trait Sized32: Published {}

macro_rules! published {
    ($($type:ident $name:literal $bytes:literal,)*) => {
        $(
            const _: () = assert!(size_of::<$type>() >= $bytes);
            // SAFETY: its declaration, a few lines of C, has nothing else.
            unsafe impl Published for $type {
                const NAME: &'static str = $name;
                const BYTES_MIN: usize = $bytes;
            }
        )*
        /// The names and least sizes of them all.
        pub const PUBLISHED: &[(&str, usize)] = &[$(($name, $bytes),)*];
    };
}

macro_rules! begin_with_their_size {
    ($($type:ident)*) => {
        $(
            const _: () = assert!(core::mem::offset_of!($type, size) == 0);
            // SAFETY: asserted above.
            unsafe impl Sized32 for $type {}
        )*
    };
}

published! {
    OptionRow "pp_option" 56,
    Value "pp_value" 48,
    Settings "pp_settings" 96,
    SessionInfo "pp_session_info" 96,
    Datagram "pp_datagram" 80,
    HostApi "pp_host_api" 152,
    Plugin "pp_plugin" 192,
    Needs1 "pp_needs_1" 24,
    Stream "pp_stream" 48,
    Blocking1 "pp_blocking_1" 24,
    Work1 "pp_work_1" 16,
    WorkSink1 "pp_work_sink_1" 16,
    File1 "pp_file_1" 16,
    Carry1 "pp_carry_1" 24,
    BusMessage "pp_bus_message" 72,
    Bus1 "pp_bus_1" 64,
    BusSink1 "pp_bus_sink_1" 64,
    Metric "pp_metric" 56,
    Metrics1 "pp_metrics_1" 48,
}

begin_with_their_size! {
    Settings SessionInfo Datagram HostApi Needs1 Stream Blocking1 Work1 WorkSink1 File1 Carry1
    BusMessage Bus1 BusSink1 Metric Metrics1
}

/// What lies there, as far as it says to go; the error is its size, if that is less than was published.
///
/// # Safety
/// `from` points to a `T` of any minor that is readable as far as its size says; at least its size is.
pub unsafe fn read_sized<T: Sized32>(from: *const T) -> Result<T, u32> {
    // SAFETY: the caller's promise, and `Sized32`'s.
    let size = unsafe { from.cast::<u32>().read_unaligned() };
    if (size as usize) < T::BYTES_MIN {
        return Err(size);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { read_bytes(from, size as usize) })
}

/// The first `bytes` of what lies there, or as many as ours has; the rest is zero.
///
/// # Safety
/// So many bytes at `from` are readable, and they end a field of `T`.
pub unsafe fn read_bytes<T: Published>(from: *const T, bytes: usize) -> T {
    let mut own = MaybeUninit::<T>::zeroed();
    let bytes = bytes.min(size_of::<T>());
    // SAFETY: the caller's promise; ours has no fewer bytes, and is apart, being on this stack.
    unsafe { core::ptr::copy_nonoverlapping(from.cast::<u8>(), own.as_mut_ptr().cast(), bytes) };
    // SAFETY: `Published`: zero is valid, and whole fields were copied over it.
    unsafe { own.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that lies at the very end of its memory, so that tools see a read behind it.
    fn lent(bytes: usize, size: u32) -> Vec<u8> {
        let mut memory = vec![0xff; bytes];
        memory[..4].copy_from_slice(&size.to_ne_bytes());
        memory
    }

    #[test]
    fn what_is_shorter_than_published_is_refused_and_what_is_longer_is_cut() {
        let least = Metric::BYTES_MIN as u32;
        for (size, expected) in [
            (0, Err(0)),
            (least - 1, Err(least - 1)),
            (least, Ok(least)),
            (least + 8, Ok(least + 8)),
        ] {
            let memory = lent(size.max(4) as usize, size);
            // SAFETY: so many bytes are there.
            let read = unsafe { read_sized(memory.as_ptr().cast::<Metric>()) };
            assert_eq!(read.map(|metric| metric.size), expected);
        }
    }

    #[test]
    fn what_an_older_one_lacks_is_zero() {
        let memory = lent(24, 24);
        // SAFETY: so many bytes are there, and the 24th ends `name`.
        let read = unsafe { read_bytes(memory.as_ptr().cast::<Metric>(), 24) };
        assert_eq!((read.kind, read.name.len), (u32::MAX, usize::MAX));
        assert!(read.help.ptr.is_null() && read.bounds.is_null() && read.bound_count == 0);
    }
}
