//! The registers of an interrupted thread, as the kernel hands them to a signal handler.
//!
//! It knows two architectures by name; on any other there are none, and a record says only what the
//! signal itself does.

use std::ffi::c_void;

#[cfg(target_arch = "x86_64")]
pub const REGISTER_NAMES: [&str; 18] = [
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax",
    "rcx", "rsp", "rip", "eflags",
];

#[cfg(target_arch = "aarch64")]
pub const REGISTER_NAMES: [&str; 33] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "sp", "pc",
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub const REGISTER_NAMES: [&str; 0] = [];

pub(super) struct Registers([u64; REGISTER_NAMES.len()]);

impl Registers {
    /// # Safety
    ///
    /// `context` is the third argument of a handler that was set with SA_SIGINFO.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn of(context: *mut c_void) -> Registers {
        // SAFETY: the caller's promise: it is a ucontext_t (sigaction(2)) that lives during the call.
        let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        // The kernel's order is that of the names.
        Registers(std::array::from_fn(|nth| machine.gregs[nth] as u64))
    }

    /// # Safety
    ///
    /// As above.
    #[cfg(target_arch = "aarch64")]
    pub(super) unsafe fn of(context: *mut c_void) -> Registers {
        // SAFETY: as above.
        let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        Registers(std::array::from_fn(|nth| match nth {
            0..=30 => machine.regs[nth],
            31 => machine.sp,
            _ => machine.pc,
        }))
    }

    /// # Safety
    ///
    /// None is needed where nothing is read.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) unsafe fn of(_: *mut c_void) -> Registers {
        Registers([])
    }

    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    pub(super) fn ip(&self) -> usize {
        self.named(&["rip", "pc"])
    }

    pub(super) fn sp(&self) -> usize {
        self.named(&["rsp", "sp"])
    }

    /// What points to the caller's frame in code that keeps frame pointers.
    pub(super) fn fp(&self) -> usize {
        self.named(&["rbp", "x29"])
    }

    fn named(&self, names: &[&str]) -> usize {
        let at = REGISTER_NAMES.iter().position(|name| names.contains(name));
        at.map_or(0, |at| self.0[at] as usize)
    }
}
