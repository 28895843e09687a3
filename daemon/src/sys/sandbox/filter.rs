//! From the tables of `rules` and `allowed` to the program that the kernel runs before each call.
//!
//! It is several, each of which has one answer besides "allow", one behind the other: the first that does
//! not allow a call has the word. The kernel remembers which calls are always allowed, and does not run
//! it for those (seccomp(2)). Of the rest only sending is made for every message, so that is found out by
//! the first steps, and judged by the next.
//!
//! Invariant: a call that no line grants is not made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads, sock_filter,
};

use super::Profile;
use super::allowed::ALLOWED;
use super::rules::{KILLED, Line, Test};
use crate::plan::Needs;

/// What happens on a call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A SIGSYS, which `denials` answers with EPERM once it has noted the call.
    Noted,
    /// EPERM, and nobody notes it.
    Silent,
}

/// Which threads are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Process,
    /// And those it makes.
    Thread,
}

pub(super) fn close(
    needs: &Needs,
    profile: Profile,
    refusal: Refusal,
    reach: Reach,
) -> Result<(), String> {
    let eperm = SeccompAction::Errno(libc::EPERM as u32);
    let refuse = match refusal {
        Refusal::Noted => SeccompAction::Trap,
        Refusal::Silent => eperm,
    };
    // In all threads the C library goes on with clone, whose flags can be seen.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
    let killed = table(KILLED.iter())?;
    let killed = compile(killed, SeccompAction::Allow, SeccompAction::KillProcess)?;
    let absent = compile(absent, SeccompAction::Allow, enosys)?;
    let (sending, other): (Vec<&Line>, Vec<&Line>) =
        granted(needs, profile).partition(|line| SENDING.contains(&line.call));
    let allowing = |lines: Vec<&'static Line>| {
        let lines = table(lines.into_iter())?;
        compile(lines, refuse.clone(), SeccompAction::Allow)
    };
    let mut others = Vec::from(other_tables());
    others.extend([killed, absent, allowing(other)?]);
    let program = in_front(&allowing(sending)?, in_turn(others));
    match reach {
        Reach::Process => apply_filter_all_threads(&program),
        Reach::Thread => apply_filter(&program),
    }
    .map_err(|error| error.to_string())
}

/// Nothing is refused; what would be is told to whoever reads the descriptor, and waits for that.
/// It holds for this thread and those it makes.
pub(super) fn listen(needs: &Needs, profile: Profile) -> Result<OwnedFd, String> {
    // The compiler of programs has no word for this answer, so another one holds its place.
    const PLACE: u32 = 0x706f;
    let granted = table(granted(needs, profile))?;
    let mut program = compile(granted, SeccompAction::Trace(PLACE), SeccompAction::Allow)?;
    let place = u32::from(SeccompAction::Trace(PLACE));
    for step in &mut program {
        let returns = u32::from(step.code) == libc::BPF_RET | libc::BPF_K;
        if returns && step.k == place {
            step.k = libc::SECCOMP_RET_USER_NOTIF;
        }
    }
    install_listening(&mut program).map_err(|error| error.to_string())
}

fn install_listening(program: &mut BpfProgram) -> io::Result<OwnedFd> {
    nix::sys::prctl::set_no_new_privs()?;
    let mut steps: Vec<libc::sock_filter> = program
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jt,
            jf: step.jf,
            k: step.k,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).map_err(io::Error::other)?,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until the call has returned.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn granted(needs: &Needs, profile: Profile) -> impl Iterator<Item = &'static Line> {
    ALLOWED
        .iter()
        .filter(move |line| line.to.is_granted(needs, profile))
}

/// Calls that are made for every message and cannot be allowed whatever their arguments.
const SENDING: [libc::c_long; 3] = [libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg];

/// Each judges what those before it allow.
fn in_turn(programs: Vec<BpfProgram>) -> BpfProgram {
    let behind = programs.len();
    let mut all = BpfProgram::new();
    for (program, left) in programs.into_iter().zip((0..behind).rev()) {
        let length = program.len();
        for (at, one) in program.into_iter().enumerate() {
            let allows = u32::from(one.code) == RETURN && one.k == libc::SECCOMP_RET_ALLOW;
            let goes_on = step(JUMP, 0, 0, (length - at - 1) as u32);
            all.push(if allows && left > 0 { goes_on } else { one });
        }
    }
    all
}

/// What sends is judged by `sending` alone, which begins with the architecture: whose numbers mean something
/// else is ended there as well.
fn in_front(sending: &[sock_filter], others: BpfProgram) -> BpfProgram {
    let mut all = vec![step(LOAD, 0, 0, NUMBER)];
    for (left, call) in (0..SENDING.len() as u8).rev().zip(SENDING) {
        // Over the calls that are left, and over the jump behind them.
        all.push(step(IF_EQUAL, left + 1, 0, call as u32));
    }
    all.push(step(JUMP, 0, 0, sending.len() as u32));
    all.extend_from_slice(sending);
    all.extend(others);
    all
}

type Table = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(
    table: Table,
    other: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    SeccompFilter::new(table, other, listed, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

/// Of several lines for one call each suffices.
fn table<'a>(lines: impl Iterator<Item = &'a Line>) -> Result<Table, String> {
    let mut table = Table::new();
    for line in lines {
        let rows = line.when.iter().map(|tests| rule(tests));
        let rows = rows
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let known = table.get(&line.call).map(Vec::is_empty);
        match known {
            // It is listed without a condition already.
            Some(true) => {}
            _ if rows.is_empty() => _ = table.insert(line.call, rows),
            _ => table.entry(line.call).or_default().extend(rows),
        }
    }
    Ok(table)
}

fn rule(tests: &[Test]) -> Result<SeccompRule, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let condition = |test: &Test| {
        let (argument, op, value) = match *test {
            Test::Equals(argument, value) => (argument, Eq, value),
            Test::Has(argument, bits) => (argument, MaskedEq(bits), bits),
            Test::Lacks(argument, bits) => (argument, MaskedEq(bits), 0),
            Test::Masked(argument, mask, value) => (argument, MaskedEq(mask), value),
            Test::OwnProcess(argument) => (argument, Eq, u64::from(std::process::id())),
        };
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
    };
    SeccompRule::new(tests.iter().map(condition).collect::<Result<_, _>>()?)
}

/// x32 calls have numbers of their own on the same architecture: no table would match them.
#[cfg(target_arch = "x86_64")]
fn other_tables() -> [BpfProgram; 1] {
    const X32_SYSCALL_BIT: u32 = 0x4000_0000;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    [vec![
        step(LOAD, 0, 0, NUMBER),
        step(at_least, 0, 1, X32_SYSCALL_BIT),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]]
}

#[cfg(not(target_arch = "x86_64"))]
fn other_tables() -> [BpfProgram; 0] {
    []
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// The number of the call is the first word of seccomp_data (seccomp(2)).
const NUMBER: u32 = 0;

/// The jumps count steps after the next one (bpf(4)).
fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of them only the first program is asked.
    #[test]
    fn what_sends_is_judged_by_its_lines_alone() {
        assert!(KILLED.iter().all(|line| !SENDING.contains(&line.call)));
    }
}
