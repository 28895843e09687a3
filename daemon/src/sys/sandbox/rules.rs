//! What a line of the sandbox says: a system call, who may make it, with which arguments, and why.
//!
//! Three tables, all data. `allowed` is what a closed process may do; whatever is not in it is
//! refused. [`KILLED`] is what no server ever does in good faith: it ends the process, so that an
//! attack is over and noticed. [`REFUSED`] adds nothing to the filter: it keeps the words for calls
//! that people ask about. Numbers of calls are those of this machine; older calls that newer
//! architectures lack stand for x86-64 alone.
//!
//! Invariant: no call is both allowed and killed for the same arguments.

use libc::c_long;

use super::Profile;
use crate::plan::Needs;

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Every closed process.
    Everybody,
    /// Who has listeners.
    Serving,
    /// Who needs files to read, or more than that.
    Reading,
    /// Who needs files to write.
    Writing,
    Connecting,
    /// Who starts programs. Their calls are judged by the same lines.
    Starting,
    /// Who loads code out of files, as programs do when they are started.
    Loading,
    /// Who makes code at run time.
    Code,
}

impl To {
    pub(super) fn is_granted(self, needs: &Needs, profile: Profile) -> bool {
        let reads = !needs.files_read.is_empty();
        let writes = !needs.files_write.is_empty();
        match (profile, self) {
            (_, To::Everybody) => true,
            (Profile::Worker { .. }, To::Serving) => true,
            (Profile::Worker { .. }, To::Reading) => reads || writes || needs.exec,
            (Profile::Worker { .. }, To::Writing) => writes,
            (Profile::Worker { .. }, To::Connecting) => needs.connect,
            (Profile::Worker { .. }, To::Starting) => needs.exec,
            (Profile::Worker { .. }, To::Loading) => needs.exec,
            (Profile::Worker { .. }, To::Code) => needs.jit,
            (Profile::Probe, to) => to == To::Reading && reads,
            (Profile::Hub, To::Connecting) => needs.connect,
            (Profile::Hub, to) => matches!(to, To::Reading | To::Writing),
            // It reads the administrator's files, and looks up names with the system's own modules.
            (Profile::Check, to) => matches!(to, To::Reading | To::Connecting | To::Loading),
        }
    }

    /// What a plugin declares to be granted this.
    pub(super) fn need(self) -> Option<&'static str> {
        match self {
            To::Everybody | To::Serving => None,
            To::Reading => Some("files_read"),
            To::Writing => Some("files_write"),
            To::Connecting => Some("connect"),
            To::Starting | To::Loading => Some("exec"),
            To::Code => Some("jit"),
        }
    }
}

/// Of one argument, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equals(u8, u64),
    /// Has all of these bits.
    Has(u8, u64),
    /// Has none of these bits.
    Lacks(u8, u64),
    /// The bits of the mask are this.
    Masked(u8, u64, u64),
    /// Is this process.
    OwnProcess(u8),
}

/// One of the rows has to hold, all of it. No row at all is always.
pub(super) type When = &'static [&'static [Test]];
pub(super) const ALWAYS: When = &[];

#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) call: c_long,
    /// As in libc: `SYS_read`.
    symbol: &'static str,
    pub(super) to: To,
    pub(super) when: When,
    pub(super) why: &'static str,
}

impl Line {
    pub(super) const fn new(
        call: c_long,
        symbol: &'static str,
        to: To,
        when: When,
        why: &'static str,
    ) -> Line {
        Line {
            call,
            symbol,
            to,
            when,
            why,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.symbol.strip_prefix("SYS_").unwrap_or(self.symbol)
    }
}

/// Lines of a call each: who, the call, the arguments if not any, the reason.
macro_rules! lines {
    ($( $(#[$attribute:meta])* $to:ident $call:ident $([$when:expr])? $why:literal; )*) => {
        &[$( $(#[$attribute])* $crate::sys::sandbox::rules::Line::new(
            libc::$call,
            stringify!($call),
            $crate::sys::sandbox::rules::To::$to,
            $crate::sys::sandbox::rules::when!($($when)?),
            $why,
        ) ),*]
    };
}
macro_rules! when {
    () => {
        $crate::sys::sandbox::rules::ALWAYS
    };
    ($when:expr) => {
        $when
    };
}
pub(super) use {lines, when};

const ANY_NEW_NAMESPACE: When = &[
    &[Test::Has(0, libc::CLONE_NEWNS as u64)],
    &[Test::Has(0, libc::CLONE_NEWCGROUP as u64)],
    &[Test::Has(0, libc::CLONE_NEWUTS as u64)],
    &[Test::Has(0, libc::CLONE_NEWIPC as u64)],
    &[Test::Has(0, libc::CLONE_NEWUSER as u64)],
    &[Test::Has(0, libc::CLONE_NEWPID as u64)],
    &[Test::Has(0, libc::CLONE_NEWNET as u64)],
];

#[rustfmt::skip]
pub(super) const KILLED: &[Line] = lines! {
    Everybody SYS_ptrace "reads and writes another process";
    Everybody SYS_process_vm_readv "reads another process";
    Everybody SYS_process_vm_writev "writes another process";
    Everybody SYS_pidfd_getfd "takes another process's descriptors";
    Everybody SYS_kcmp "looks into another process";
    Everybody SYS_bpf "runs programs inside the kernel";
    Everybody SYS_perf_event_open "looks into the kernel and other processes";
    Everybody SYS_userfaultfd "stops the kernel in the middle of a copy, which exploits like";
    Everybody SYS_io_uring_setup "makes calls past this filter";
    Everybody SYS_io_uring_enter "makes calls past this filter";
    Everybody SYS_io_uring_register "makes calls past this filter";
    Everybody SYS_add_key "the kernel's key rings belong to no plugin";
    Everybody SYS_request_key "the kernel's key rings belong to no plugin";
    Everybody SYS_keyctl "the kernel's key rings belong to no plugin";
    Everybody SYS_kexec_load "starts another kernel";
    Everybody SYS_kexec_file_load "starts another kernel";
    Everybody SYS_init_module "puts code into the kernel";
    Everybody SYS_finit_module "puts code into the kernel";
    Everybody SYS_delete_module "takes code out of the kernel";
    Everybody SYS_reboot "ends the machine";
    Everybody SYS_swapon "the machine's memory";
    Everybody SYS_swapoff "the machine's memory";
    Everybody SYS_mount "another view of the file system";
    Everybody SYS_umount2 "another view of the file system";
    Everybody SYS_move_mount "another view of the file system";
    Everybody SYS_open_tree "another view of the file system";
    Everybody SYS_fsopen "another view of the file system";
    Everybody SYS_fsconfig "another view of the file system";
    Everybody SYS_fsmount "another view of the file system";
    Everybody SYS_fspick "another view of the file system";
    Everybody SYS_mount_setattr "another view of the file system";
    Everybody SYS_pivot_root "another view of the file system";
    Everybody SYS_chroot "another view of the file system";
    Everybody SYS_open_by_handle_at "files past their directories";
    Everybody SYS_unshare "namespaces in which capabilities could be had again";
    Everybody SYS_setns "namespaces in which capabilities could be had again";
    Everybody SYS_clone [ANY_NEW_NAMESPACE] "namespaces in which capabilities could be had again";
    Everybody SYS_acct "the machine's book-keeping";
    Everybody SYS_quotactl "the machine's book-keeping";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_iopl "ports of the machine";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_ioperm "ports of the machine";
};

const OPENING_BY_MESSAGE: When = &[&[Test::Has(2, libc::MSG_FASTOPEN as u64)]];
const OPENING: When = &[&[Test::Has(3, libc::MSG_FASTOPEN as u64)]];
/// The same numbers on every architecture (fcntl(2)).
const SIGNALLING: When = &[
    &[Test::Equals(1, libc::F_SETOWN as u64)],
    // F_SETOWN_EX, F_SETSIG
    &[Test::Equals(1, 15)],
    &[Test::Equals(1, 10)],
];
const OF_DATAGRAMS: When = &[&[Test::Masked(1, 0xf, libc::SOCK_DGRAM as u64)]];

#[rustfmt::skip]
pub(super) const REFUSED: &[Line] = lines! {
    Everybody SYS_sendto [OPENING] "with MSG_FASTOPEN to send is to connect";
    Everybody SYS_sendmsg [OPENING_BY_MESSAGE] "with MSG_FASTOPEN to send is to connect";
    Everybody SYS_sendmmsg [OPENING] "with MSG_FASTOPEN to send is to connect";
    Everybody SYS_fcntl [SIGNALLING] "a descriptor signals nobody else, and holds up nobody who opens a file";
    Everybody SYS_socketpair [OF_DATAGRAMS] "datagrams could be sent to anybody's path";
    Everybody SYS_setuid "its identity was given up for good";
    Everybody SYS_setgid "its identity was given up for good";
    Everybody SYS_setreuid "its identity was given up for good";
    Everybody SYS_setregid "its identity was given up for good";
    Everybody SYS_setresuid "its identity was given up for good";
    Everybody SYS_setresgid "its identity was given up for good";
    Everybody SYS_setfsuid "its identity was given up for good";
    Everybody SYS_setfsgid "its identity was given up for good";
    Everybody SYS_setgroups "its identity was given up for good";
    Everybody SYS_capset "its capabilities were given up for good";
    Everybody SYS_bind "addresses are the supervisor's: write them into `listen`";
    Everybody SYS_listen "addresses are the supervisor's: write them into `listen`";
    Everybody SYS_personality "it would make all memory code";
    Everybody SYS_tkill "signals to others are the supervisor's";
    Everybody SYS_pidfd_open "other processes are the supervisor's";
    Everybody SYS_pidfd_send_signal "signals to others are the supervisor's";
    Everybody SYS_setpriority "priorities are the service manager's";
    Everybody SYS_sched_setscheduler "priorities are the service manager's";
    Everybody SYS_shmget "memory shared by a key, with whoever knows it";
    Everybody SYS_shmat "memory shared by a key, with whoever knows it";
    Everybody SYS_mknodat "devices are the machine's";
    Everybody SYS_syslog "the kernel's log is the machine's";
    Everybody SYS_seccomp "the filter is closed";
};
