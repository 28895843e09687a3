//! The system calls that a closed process is denied: data, a reason per group.
//!
//! A call that no server ever makes kills the process, so that an attack ends and is noticed; one
//! that a library may try in good faith is refused, so that it can go on without.

use libc::c_long;

use super::Profile;
use crate::plan::Needs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// SIGSYS to the whole process.
    Kill,
    /// EPERM.
    Refuse,
    /// ENOSYS, for which the C library has a fallback.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// The first argument is not this process.
    OtherProcess,
    /// As before, but 0 means this process too.
    OtherProcessNotZero,
    Lacks {
        argument: u8,
        flag: u64,
    },
    HasAny {
        argument: u8,
        flags: u64,
    },
}

pub(super) struct Rule {
    pub(super) call: c_long,
    pub(super) denial: Denial,
    pub(super) when: When,
    /// Whether the plugin's needs lift it.
    pub(super) granted: fn(&Needs, Profile) -> bool,
}

const fn kill(call: c_long) -> Rule {
    Rule {
        call,
        denial: Denial::Kill,
        when: When::Always,
        granted: never,
    }
}

const fn refuse(call: c_long, when: When, granted: fn(&Needs, Profile) -> bool) -> Rule {
    Rule {
        call,
        denial: Denial::Refuse,
        when,
        granted,
    }
}

fn never(_: &Needs, _: Profile) -> bool {
    false
}

fn to_worker(_: &Needs, profile: Profile) -> bool {
    profile == Profile::Worker
}

fn to_connect(needs: &Needs, profile: Profile) -> bool {
    needs.connect && profile == Profile::Worker
}

fn to_exec(needs: &Needs, profile: Profile) -> bool {
    needs.exec && profile == Profile::Worker
}

/// A program that is started maps its own code.
fn to_map_code(needs: &Needs, profile: Profile) -> bool {
    (needs.jit || needs.exec) && profile == Profile::Worker
}

const NOT_A_THREAD: When = When::Lacks {
    argument: 0,
    flag: libc::CLONE_THREAD as u64,
};
const NEW_NAMESPACE: When = When::HasAny {
    argument: 0,
    flags: (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64,
};
const EXECUTABLE: When = When::HasAny {
    argument: 2,
    flags: libc::PROT_EXEC as u64,
};
const SHARED_EXECUTABLE: When = When::HasAny {
    argument: 2,
    flags: libc::SHM_EXEC as u64,
};

pub(super) const RULES: &[Rule] = &[
    // Reading and writing other processes.
    kill(libc::SYS_ptrace),
    kill(libc::SYS_process_vm_readv),
    kill(libc::SYS_process_vm_writev),
    kill(libc::SYS_pidfd_getfd),
    kill(libc::SYS_kcmp),
    // Programs inside the kernel, and its largest attack surfaces.
    kill(libc::SYS_bpf),
    kill(libc::SYS_perf_event_open),
    kill(libc::SYS_userfaultfd),
    kill(libc::SYS_io_uring_setup),
    kill(libc::SYS_io_uring_enter),
    kill(libc::SYS_io_uring_register),
    kill(libc::SYS_add_key),
    kill(libc::SYS_request_key),
    kill(libc::SYS_keyctl),
    // Another kernel, other code in this one, the end of it.
    kill(libc::SYS_kexec_load),
    kill(libc::SYS_kexec_file_load),
    kill(libc::SYS_init_module),
    kill(libc::SYS_finit_module),
    kill(libc::SYS_delete_module),
    kill(libc::SYS_reboot),
    kill(libc::SYS_swapon),
    kill(libc::SYS_swapoff),
    // Another view of the file system, or files past their directories.
    kill(libc::SYS_mount),
    kill(libc::SYS_umount2),
    kill(libc::SYS_move_mount),
    kill(libc::SYS_open_tree),
    kill(libc::SYS_fsopen),
    kill(libc::SYS_fsconfig),
    kill(libc::SYS_fsmount),
    kill(libc::SYS_fspick),
    kill(libc::SYS_mount_setattr),
    kill(libc::SYS_pivot_root),
    kill(libc::SYS_chroot),
    kill(libc::SYS_open_by_handle_at),
    // Other namespaces, in which capabilities could be had again.
    kill(libc::SYS_unshare),
    kill(libc::SYS_setns),
    Rule {
        when: NEW_NAMESPACE,
        ..kill(libc::SYS_clone)
    },
    // The machine's book-keeping.
    kill(libc::SYS_acct),
    kill(libc::SYS_quotactl),
    // Ports of the machine.
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_ioperm),
    // Other programs, and processes that would outlive supervision.
    refuse(libc::SYS_execve, When::Always, to_exec),
    refuse(libc::SYS_execveat, When::Always, to_exec),
    refuse(libc::SYS_clone, NOT_A_THREAD, to_exec),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_fork, When::Always, to_exec),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_vfork, When::Always, to_exec),
    // Its flags lie in memory, where a filter cannot look; the C library falls back to clone.
    Rule {
        denial: Denial::Absent,
        ..kill(libc::SYS_clone3)
    },
    // Sockets other than those that were handed in or accepted.
    refuse(libc::SYS_socket, When::Always, to_connect),
    refuse(libc::SYS_connect, When::Always, to_connect),
    refuse(libc::SYS_bind, When::Always, never),
    refuse(libc::SYS_listen, When::Always, never),
    refuse(libc::SYS_accept, When::Always, to_worker),
    refuse(libc::SYS_accept4, When::Always, to_worker),
    // Signals to others. abort(3) and the thread library signal this process itself.
    refuse(libc::SYS_kill, When::OtherProcess, never),
    refuse(libc::SYS_tgkill, When::OtherProcess, never),
    refuse(libc::SYS_tkill, When::Always, never),
    refuse(libc::SYS_rt_sigqueueinfo, When::OtherProcess, never),
    refuse(libc::SYS_rt_tgsigqueueinfo, When::OtherProcess, never),
    refuse(libc::SYS_pidfd_open, When::Always, never),
    refuse(libc::SYS_pidfd_send_signal, When::Always, never),
    refuse(libc::SYS_prlimit64, When::OtherProcessNotZero, never),
    // Other identities.
    refuse(libc::SYS_setuid, When::Always, never),
    refuse(libc::SYS_setgid, When::Always, never),
    refuse(libc::SYS_setreuid, When::Always, never),
    refuse(libc::SYS_setregid, When::Always, never),
    refuse(libc::SYS_setresuid, When::Always, never),
    refuse(libc::SYS_setresgid, When::Always, never),
    refuse(libc::SYS_setfsuid, When::Always, never),
    refuse(libc::SYS_setfsgid, When::Always, never),
    refuse(libc::SYS_setgroups, When::Always, never),
    refuse(libc::SYS_personality, When::Always, never),
    // New code: everything that may run was mapped before.
    refuse(libc::SYS_mmap, EXECUTABLE, to_map_code),
    refuse(libc::SYS_mprotect, EXECUTABLE, to_map_code),
    refuse(libc::SYS_pkey_mprotect, EXECUTABLE, to_map_code),
    refuse(libc::SYS_shmat, SHARED_EXECUTABLE, to_map_code),
];
