//! The system calls that a closed process may make: a line each, with its reason.
//!
//! What stands here is what the daemon's own code, the C library under it and ordinary libraries do
//! without a need being declared, and after it what each need adds. A call that can be told from its
//! arguments to be harmless stands with them.
//!
//! Invariant: without a need nothing here opens a file, makes or binds a socket, starts a program,
//! maps code, or reaches another process.

use super::rules::{Line, Test, When, lines};
use Test::{Equals, Has, Lacks, Masked, OwnProcess};

const THREAD: When = &[&[Has(0, libc::CLONE_THREAD as u64)]];
const OF_ITSELF: When = &[&[OwnProcess(0)]];
const OF_ITSELF_OR_0: When = &[&[OwnProcess(0)], &[Equals(0, 0)]];
const NO_CODE: When = &[&[Lacks(2, libc::PROT_EXEC as u64)]];
const NOT_WRITABLE: When = &[&[Lacks(2, libc::PROT_WRITE as u64)]];
/// A descriptor's, not a path's: then the path is empty (stat(2)).
const OF_DESCRIPTOR: When = &[&[Has(3, libc::AT_EMPTY_PATH as u64)]];
const OF_DESCRIPTOR_X: When = &[&[Has(2, libc::AT_EMPTY_PATH as u64)]];

const CHANGES: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
#[cfg(target_arch = "x86_64")]
const OPEN_TO_READ: When = &[&[Lacks(1, CHANGES)]];
const OPENAT_TO_READ: When = &[&[Lacks(2, CHANGES)]];

const PR_SET_VMA: u64 = 0x5356_4d41;
const HARMLESS_PRCTL: When = &[
    &[Equals(0, libc::PR_SET_NAME as u64)],
    &[Equals(0, libc::PR_GET_NAME as u64)],
    &[Equals(0, libc::PR_GET_DUMPABLE as u64)],
    &[Equals(0, libc::PR_SET_TIMERSLACK as u64)],
    &[Equals(0, PR_SET_VMA)],
];
const HARMLESS_IOCTL: When = &[
    &[Equals(1, libc::FIONBIO)],
    &[Equals(1, libc::FIONREAD)],
    &[Equals(1, libc::FIOCLEX)],
    &[Equals(1, libc::FIONCLEX)],
    &[Equals(1, libc::TIOCOUTQ)],
    // isatty(3)
    &[Equals(1, libc::TCGETS)],
];
/// if_nametoindex(3)
const NUMBER_OF_INTERFACE: When = &[&[Equals(1, libc::SIOCGIFINDEX)]];
const OPTIONS_OF_PEERS: When = &[
    &[Equals(1, libc::SOL_SOCKET as u64)],
    &[Equals(1, libc::IPPROTO_IP as u64)],
    &[Equals(1, libc::IPPROTO_IPV6 as u64)],
    &[Equals(1, libc::IPPROTO_TCP as u64)],
    &[Equals(1, libc::IPPROTO_UDP as u64)],
];
/// Above it are flags.
const SOCKET_KIND: u64 = 0xf;
/// A pair of datagrams could be told to send to anybody's path (unix(7)).
const UNIX_PAIR: When = &[
    &[
        Equals(0, libc::AF_UNIX as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_STREAM as u64),
    ],
    &[
        Equals(0, libc::AF_UNIX as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_SEQPACKET as u64),
    ],
];
/// With MSG_FASTOPEN to send is to connect (tcp(7)), and a listener that was shut can do that.
const SENDTO_PLAIN: When = &[&[Lacks(3, libc::MSG_FASTOPEN as u64)]];
const SENDMSG_PLAIN: When = &[&[Lacks(2, libc::MSG_FASTOPEN as u64)]];
const SENDMMSG_PLAIN: When = &[&[Lacks(3, libc::MSG_FASTOPEN as u64)]];
/// Not among them are those by which a descriptor signals whoever it is told to, and a lease, which
/// holds up who opens the file.
const FCNTL_OF_ITSELF: When = &[
    &[Equals(1, libc::F_DUPFD as u64)],
    &[Equals(1, libc::F_DUPFD_CLOEXEC as u64)],
    &[Equals(1, libc::F_GETFD as u64)],
    &[Equals(1, libc::F_SETFD as u64)],
    &[Equals(1, libc::F_GETFL as u64)],
    &[Equals(1, libc::F_SETFL as u64)],
    &[Equals(1, libc::F_GETLK as u64)],
    &[Equals(1, libc::F_SETLK as u64)],
    &[Equals(1, libc::F_SETLKW as u64)],
    &[Equals(1, libc::F_OFD_GETLK as u64)],
    &[Equals(1, libc::F_OFD_SETLK as u64)],
    &[Equals(1, libc::F_OFD_SETLKW as u64)],
    &[Equals(1, libc::F_GETPIPE_SZ as u64)],
    &[Equals(1, libc::F_SETPIPE_SZ as u64)],
    &[Equals(1, libc::F_GET_SEALS as u64)],
    &[Equals(1, libc::F_ADD_SEALS as u64)],
];
const PLAIN_SOCKET: When = &[
    &[
        Equals(0, libc::AF_INET as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_STREAM as u64),
    ],
    &[
        Equals(0, libc::AF_INET as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_DGRAM as u64),
    ],
    &[
        Equals(0, libc::AF_INET6 as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_STREAM as u64),
    ],
    &[
        Equals(0, libc::AF_INET6 as u64),
        Masked(1, SOCKET_KIND, libc::SOCK_DGRAM as u64),
    ],
    &[Equals(0, libc::AF_UNIX as u64)],
];

#[rustfmt::skip]
pub(super) const ALLOWED: &[Line] = lines! {
    // Memory that is not code.
    Everybody SYS_brk "the heap";
    Everybody SYS_mmap [NO_CODE] "the heap, stacks of threads";
    Everybody SYS_munmap "gives memory back";
    Everybody SYS_mremap "a block of the heap grows";
    Everybody SYS_mprotect [NO_CODE] "guard pages of stacks";
    Everybody SYS_madvise "memory that is not needed for now";
    Everybody SYS_mincore "whether a file is in memory";
    Everybody SYS_msync "a mapped file's pages";
    Everybody SYS_mlock "secrets that must not be swapped";
    Everybody SYS_mlock2 "secrets that must not be swapped";
    Everybody SYS_munlock "the same, undone";
    Everybody SYS_membarrier "lock-free libraries";
    Everybody SYS_memfd_create "a file in memory; it cannot be run";

    // Threads, and the end.
    Everybody SYS_clone [THREAD] "threads";
    Everybody SYS_clone3 "answered as absent: its flags lie where no filter can look, the C library goes on with clone";
    Everybody SYS_set_robust_list "a new thread";
    Everybody SYS_set_tid_address "a new thread";
    Everybody SYS_rseq "a new thread";
    Everybody SYS_futex "locks";
    Everybody SYS_futex_waitv "locks";
    Everybody SYS_sched_yield "locks";
    Everybody SYS_sched_getaffinity "how many processors; a thread's attributes";
    Everybody SYS_sched_getparam "a thread's attributes";
    Everybody SYS_sched_getscheduler "a thread's attributes";
    Everybody SYS_exit "the end of a thread";
    Everybody SYS_exit_group "the end";
    Everybody SYS_prctl [HARMLESS_PRCTL] "names of threads and of memory";

    // Time and chance.
    Everybody SYS_clock_gettime "the clock";
    Everybody SYS_clock_getres "the clock";
    Everybody SYS_gettimeofday "the clock";
    Everybody SYS_clock_nanosleep "waiting";
    Everybody SYS_nanosleep "waiting";
    Everybody SYS_timerfd_create "timers";
    Everybody SYS_timerfd_settime "timers";
    Everybody SYS_timerfd_gettime "timers";
    Everybody SYS_timer_create "timers";
    Everybody SYS_timer_settime "timers";
    Everybody SYS_timer_gettime "timers";
    Everybody SYS_timer_delete "timers";
    Everybody SYS_timer_getoverrun "timers";
    Everybody SYS_getitimer "timers";
    Everybody SYS_setitimer "timers";
    Everybody SYS_getrandom "randomness";

    // Signals, to this process only.
    Everybody SYS_rt_sigaction "handlers";
    Everybody SYS_rt_sigprocmask "handlers";
    Everybody SYS_rt_sigreturn "the end of a handler";
    Everybody SYS_rt_sigpending "handlers";
    Everybody SYS_rt_sigsuspend "waiting for a signal";
    Everybody SYS_rt_sigtimedwait "waiting for a signal";
    Everybody SYS_sigaltstack "the stack of the crash record";
    Everybody SYS_signalfd4 "signals as input";
    Everybody SYS_restart_syscall "the kernel goes on after a stop";
    Everybody SYS_kill [OF_ITSELF] "raise";
    Everybody SYS_tgkill [OF_ITSELF] "abort, and the thread library";
    Everybody SYS_rt_sigqueueinfo [OF_ITSELF] "raise, with a value";
    Everybody SYS_rt_tgsigqueueinfo [OF_ITSELF] "raise, with a value";

    // What is open already.
    Everybody SYS_read "input";
    Everybody SYS_readv "input";
    Everybody SYS_pread64 "input";
    Everybody SYS_preadv "input";
    Everybody SYS_preadv2 "input";
    Everybody SYS_write "output";
    Everybody SYS_writev "output";
    Everybody SYS_pwrite64 "output";
    Everybody SYS_pwritev "output";
    Everybody SYS_pwritev2 "output";
    Everybody SYS_lseek "places in a file";
    Everybody SYS_sendfile "a file to a peer";
    Everybody SYS_splice "bytes between pipes and sockets";
    Everybody SYS_tee "bytes between pipes";
    Everybody SYS_vmsplice "bytes into a pipe";
    Everybody SYS_copy_file_range "bytes between files";
    Everybody SYS_readahead "a file's cold pages";
    Everybody SYS_fadvise64 "a file's cold pages";
    Everybody SYS_fstat "what a descriptor is";
    Everybody SYS_newfstatat [OF_DESCRIPTOR] "fstat of the C library";
    Everybody SYS_statx [OF_DESCRIPTOR_X] "what a descriptor is";
    Everybody SYS_fstatfs "what a descriptor is on";
    Everybody SYS_ftruncate "a file's length";
    Everybody SYS_fallocate "a file's room";
    Everybody SYS_fsync "to the disk";
    Everybody SYS_fdatasync "to the disk";
    Everybody SYS_sync_file_range "to the disk";
    Everybody SYS_close "gives a descriptor back";
    Everybody SYS_close_range "gives descriptors back";
    Everybody SYS_dup "a descriptor twice";
    Everybody SYS_dup3 "a descriptor twice";
    Everybody SYS_fcntl [FCNTL_OF_ITSELF] "flags and locks of a descriptor";
    Everybody SYS_flock "a lock on a file";
    Everybody SYS_ioctl [HARMLESS_IOCTL] "how much waits, and blocking or not";
    Everybody SYS_pipe2 "wake-ups within the process";
    Everybody SYS_eventfd2 "wake-ups within the process";
    Everybody SYS_epoll_create1 "the event loop";
    Everybody SYS_epoll_ctl "the event loop";
    Everybody SYS_epoll_pwait "the event loop";
    Everybody SYS_epoll_pwait2 "the event loop";
    Everybody SYS_ppoll "waiting for descriptors";
    Everybody SYS_pselect6 "waiting for descriptors";

    // Sockets that were handed in or accepted.
    Everybody SYS_recvfrom "input of a peer";
    Everybody SYS_recvmsg "input of a peer, and descriptors from the supervisor";
    Everybody SYS_recvmmsg "datagrams";
    Everybody SYS_sendto [SENDTO_PLAIN] "output to a peer";
    Everybody SYS_sendmsg [SENDMSG_PLAIN] "output to a peer, and sessions to a successor";
    Everybody SYS_sendmmsg [SENDMMSG_PLAIN] "datagrams";
    Everybody SYS_shutdown "the end of a stream";
    Everybody SYS_getsockname "who a socket is";
    Everybody SYS_getpeername "who a peer is";
    Everybody SYS_getsockopt "what a socket is set to";
    Everybody SYS_setsockopt [OPTIONS_OF_PEERS] "time-outs, buffers, delays";
    Everybody SYS_socketpair [UNIX_PAIR] "wake-ups within the process";
    Serving SYS_accept "new connections";
    Serving SYS_accept4 "new connections";

    // What it is, and what it may use.
    Everybody SYS_getpid "itself";
    Everybody SYS_gettid "itself";
    Everybody SYS_getppid "whether the supervisor lives";
    Everybody SYS_getpgid "itself";
    Everybody SYS_getsid "itself";
    Everybody SYS_getuid "itself";
    Everybody SYS_geteuid "itself";
    Everybody SYS_getgid "itself";
    Everybody SYS_getegid "itself";
    Everybody SYS_getresuid "itself";
    Everybody SYS_getresgid "itself";
    Everybody SYS_getgroups "itself";
    Everybody SYS_capget "that nothing is left";
    Everybody SYS_getcwd "itself";
    Everybody SYS_umask "modes of files it makes";
    Everybody SYS_uname "the machine";
    Everybody SYS_sysinfo "the machine";
    Everybody SYS_getcpu "the machine";
    Everybody SYS_times "what it has used";
    Everybody SYS_getrusage "what it has used";
    Everybody SYS_prlimit64 [OF_ITSELF_OR_0] "what it may use";
    #[cfg(not(target_arch = "riscv64"))]
    Everybody SYS_getrlimit "what it may use";

    // The need `files_read`; which files, Landlock knows.
    Reading SYS_openat [OPENAT_TO_READ] "files, to read";
    Reading SYS_openat2 "files below a folder; how, no filter can see";
    Reading SYS_newfstatat "what a file is";
    Reading SYS_statx "what a file is";
    Reading SYS_statfs "what a file is on";
    Reading SYS_faccessat "what a file is";
    Reading SYS_faccessat2 "what a file is";
    Reading SYS_readlinkat "where a link leads";
    Reading SYS_getdents64 "names in a folder";
    Reading SYS_getxattr "what a file is";
    Reading SYS_lgetxattr "what a file is";
    Reading SYS_fgetxattr "what a file is";
    Reading SYS_listxattr "what a file is";
    Reading SYS_flistxattr "what a file is";
    Reading SYS_inotify_init1 "that a file has changed";
    Reading SYS_inotify_add_watch "that a file has changed";
    Reading SYS_inotify_rm_watch "that a file has changed";

    // The need `files_write`.
    Writing SYS_openat "files, to write and to make";
    Writing SYS_mkdirat "a folder";
    Writing SYS_unlinkat "files away";
    #[cfg(not(target_arch = "riscv64"))]
    Writing SYS_renameat "a new file in an old one's place";
    Writing SYS_renameat2 "a new file in an old one's place";
    Writing SYS_linkat "a file under a second name";
    Writing SYS_symlinkat "a link";
    Writing SYS_truncate "a file's length";
    Writing SYS_fchmod "a file's mode";
    Writing SYS_fchmodat "a file's mode";
    Writing SYS_fchown "a file's owner, as a database keeps it";
    Writing SYS_utimensat "a file's times";

    // The need `connect`.
    Connecting SYS_socket [PLAIN_SOCKET] "connections to others: no raw ones";
    Connecting SYS_connect "connections to others";
    Connecting SYS_ioctl [NUMBER_OF_INTERFACE] "the number of an interface";

    // The need `exec`: a program, and what it takes to become one.
    Starting SYS_execve "programs";
    Starting SYS_execveat "programs";
    Starting SYS_clone "processes";
    Starting SYS_wait4 "how a program ended";
    Starting SYS_waitid "how a program ended";
    Starting SYS_setpgid "a program's group";
    Starting SYS_setsid "a program's group";
    Starting SYS_chdir "a program's folder";
    Starting SYS_fchdir "a program's folder";
    Starting SYS_kill "the end of a program; who that may be, the kernel decides by the user";
    #[cfg(target_arch = "x86_64")]
    Starting SYS_arch_prctl "a program's thread";
    #[cfg(target_arch = "x86_64")]
    Starting SYS_fork "processes";
    #[cfg(target_arch = "x86_64")]
    Starting SYS_vfork "processes";
    #[cfg(target_arch = "x86_64")]
    Starting SYS_getpgrp "a program's group";

    Loading SYS_mmap [NOT_WRITABLE] "a library's code, which nobody can write then";
    Loading SYS_mprotect [NOT_WRITABLE] "a library's code, which nobody can write then";

    // The need `jit`.
    Code SYS_mmap "memory that is code";
    Code SYS_mprotect "memory that becomes code";
    Code SYS_pkey_mprotect "memory that becomes code";
    Code SYS_pkey_alloc "memory that becomes code";
    Code SYS_pkey_free "memory that becomes code";

    // Older forms of the same.
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_time "the clock";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_alarm "timers";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_pause "waiting for a signal";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_pipe "wake-ups within the process";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_eventfd "wake-ups within the process";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_dup2 "a descriptor twice";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_epoll_create "the event loop";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_epoll_wait "the event loop";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_poll "waiting for descriptors";
    #[cfg(target_arch = "x86_64")]
    Everybody SYS_select "waiting for descriptors";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_open [OPEN_TO_READ] "files, to read";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_stat "what a file is";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_lstat "what a file is";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_access "what a file is";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_readlink "where a link leads";
    #[cfg(target_arch = "x86_64")]
    Reading SYS_getdents "names in a folder";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_open "files, to write and to make";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_creat "a file";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_mkdir "a folder";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_rmdir "a folder away";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_unlink "files away";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_rename "a new file in an old one's place";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_link "a file under a second name";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_symlink "a link";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_chmod "a file's mode";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_utime "a file's times";
    #[cfg(target_arch = "x86_64")]
    Writing SYS_utimes "a file's times";
};
