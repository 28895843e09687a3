//! Addresses of code on a stack whose owner has just crashed.
//!
//! Frame pointers are followed while they make sense. Most code is built without them, so whoever
//! gets nowhere that way looks at every word instead: what points into code was a return address once,
//! though not always of a call that is still open.
//!
//! Invariant: nothing is read outside of the span given.

use std::io;
use std::mem;
use std::ops::Range;

pub(super) const PAGE: usize = 4096;
/// How much of a stack is looked at.
const BYTES_MAX: usize = 64 * 1024;
/// Fewer frames by pointers than this are taken for an accident.
const CHAIN_MIN: usize = 3;
const WORD: usize = size_of::<usize>();

/// Lowest and highest address of this thread's stack. The main thread's grows downwards on demand: of
/// that one, only what lies above the stack pointer is certain to be there.
pub(super) fn bounds() -> io::Result<(usize, usize)> {
    // SAFETY: all zeroes are a valid value of this plain struct, which the next call fills.
    let mut attributes: libc::pthread_attr_t = unsafe { mem::zeroed() };
    // SAFETY: this thread lives; pthread_getattr_np(3) initialises the struct.
    let failed = unsafe { libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: the struct was initialised above; both results are ours.
    unsafe { libc::pthread_attr_getstack(&attributes, &mut low, &mut bytes) };
    // SAFETY: initialised above, and not used any more.
    unsafe { libc::pthread_attr_destroy(&mut attributes) };
    Ok((low as usize, low as usize + bytes))
}

/// What of the stack can be read: from the stack pointer up, and not the page of the fault if that lies
/// there, as after an overflow.
pub(super) fn readable(sp: usize, fault: usize, stack: Range<usize>) -> Range<usize> {
    // An overflow is noticed below the lowest page, and then the stack pointer is there too.
    let overflow = (stack.start.saturating_sub(BYTES_MAX)..stack.end).contains(&fault);
    if !stack.contains(&sp) && !overflow {
        return 0..0;
    }
    let begin = sp.max(stack.start);
    let near = fault.wrapping_add(BYTES_MAX) >= begin && fault < begin.saturating_add(BYTES_MAX);
    let begin = if near && fault < stack.end {
        begin.max((fault / PAGE + 1) * PAGE)
    } else {
        begin
    };
    let begin = begin.next_multiple_of(WORD);
    begin..stack.end.min(begin.saturating_add(BYTES_MAX)).max(begin)
}

/// Tells `found` of addresses of code, innermost first, until it has enough.
///
/// # Safety
///
/// The span is readable memory of this process, aligned to words at its start.
pub(super) unsafe fn walk(
    span: Range<usize>,
    fp: usize,
    is_code: fn(usize) -> bool,
    found: &mut dyn FnMut(usize) -> bool,
) {
    let read = |address: usize| -> Option<usize> {
        let inside = span.contains(&address) && span.end - address >= WORD;
        // SAFETY: the caller's promise, and the two checks.
        (inside && address.is_multiple_of(WORD))
            .then(|| unsafe { (address as *const usize).read_volatile() })
    };
    let next = |frame: usize| {
        let back = read(frame.checked_add(WORD)?)?;
        let up = read(frame)?;
        is_code(back).then_some((back, up))
    };
    let mut length = 0;
    let mut frame = fp;
    while let Some((_, up)) = next(frame) {
        length += 1;
        if up <= frame || length == CHAIN_MIN {
            break;
        }
        frame = up;
    }
    if length == CHAIN_MIN {
        frame = fp;
        while let Some((back, up)) = next(frame) {
            if !found(back) || up <= frame {
                return;
            }
            frame = up;
        }
        return;
    }
    for address in span.clone().step_by(WORD) {
        if let Some(word) = read(address)
            && is_code(word)
            && !found(word)
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(stack: &[usize], fp: usize) -> Vec<usize> {
        let start = stack.as_ptr() as usize;
        let mut found = Vec::new();
        let span = start..start + size_of_val(stack);
        // Frame pointers in the table are indices: made addresses of here.
        // SAFETY: the span is that of a slice that lives during the call.
        unsafe {
            walk(span, fp, |a| (1_000..2_000).contains(&a), &mut |a| {
                found.push(a);
                found.len() < FEW
            });
        }
        found
    }

    const FEW: usize = 4;

    #[test]
    fn frame_pointers_are_followed_if_there_are_enough_and_all_words_looked_at_if_not() {
        let mut stack = [0_usize; 16];
        let base = stack.as_ptr() as usize;
        let at = |index: usize| base + index * WORD;
        // Between the frames lies an address that no frame has.
        for (frame, up, back) in [(1, 5, 1_001), (5, 9, 1_002), (9, 0, 1_003)] {
            stack[frame] = if up == 0 { 0 } else { at(up) };
            stack[frame + 1] = back;
        }
        stack[3] = 1_999;
        assert_eq!(addresses(&stack, at(1)), [1_001, 1_002, 1_003]);
        assert_eq!(addresses(&stack, 0), [1_001, 1_999, 1_002, 1_003]);
        assert_eq!(addresses(&stack, at(5)), [1_001, 1_999, 1_002, 1_003]);
        // Misaligned, outside, and pointing back at itself.
        for fp in [at(1) + 1, usize::MAX, at(15)] {
            assert_eq!(addresses(&stack, fp).len(), 4, "{fp:x}");
        }
        stack[9] = at(1);
        assert_eq!(addresses(&stack, at(1)), [1_001, 1_002, 1_003]);
        assert_eq!(addresses(&[1_500; 9], 0).len(), FEW);
    }

    /// Rows of stack pointer, fault, and what is read of a stack from 0x110000 to 0x190000.
    #[test]
    fn nothing_below_the_stack_pointer_or_on_the_page_of_a_fault_is_read() {
        for (sp, fault, expected) in [
            (0x180000, 0, 0x180000..0x190000),
            (0x180003, 0, 0x180008..0x190000),
            (0x120000, 0, 0x120000..0x130000),
            (0x110010, 0x10fff8, 0x110010..0x120010),
            (0x10ff00, 0x10ff00, 0x110000..0x120000),
            (0x10ff00, 0x195000, 0..0),
            (0x110010, 0x110008, 0x111000..0x121000),
            (0x10ff00, 0x110008, 0x111000..0x121000),
            (0x5, 0, 0..0),
            (0x190000, 0, 0..0),
        ] {
            assert_eq!(
                readable(sp, fault, 0x110000..0x190000),
                expected,
                "{sp:x} {fault:x}"
            );
        }
    }

    #[test]
    fn a_thread_knows_its_own_stack() {
        let here = 0;
        let (low, high) = bounds().expect("bounds");
        assert!((low..high).contains(&(&raw const here as usize)));
    }
}
