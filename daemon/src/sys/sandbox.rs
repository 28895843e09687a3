//! Closes a process that has loaded a plugin: what it may still ask of the kernel.
//!
//! Three mechanisms, each on its own: no_new_privs, Landlock for files, TCP and signals, and a
//! system call filter. What a kernel lacks is named in the level that `status` shows, or is an error
//! if the administrator requires all of it. The filter refuses what is known to be dangerous and
//! allows the rest; it is not an allow-list, because plugins and their libraries may call anything
//! harmless. Identity and capabilities are `jail`'s business.
//!
//! Invariant: nothing closed here can be opened again by this process or its children.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::prctl;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use crate::plan::{Needs, SandboxPolicy};
use rules::{Denial, RULES, When};

mod rules;

/// Who is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Serves connections that its listeners bring.
    Worker,
    /// Looks at a plugin and answers; it has no listener and grants no needs but files to read.
    Probe,
}

/// Returns the level reached, as `status` shows it. To be called while there is one thread.
pub fn close(policy: SandboxPolicy, needs: &Needs, profile: Profile) -> Result<String, String> {
    if policy == SandboxPolicy::Off {
        return Ok("off".to_owned());
    }
    let required = policy == SandboxPolicy::Required;
    prctl::set_no_new_privs().map_err(|errno| format!("no_new_privs: {}", errno.desc()))?;
    // Another process of this user cannot read the memory, and no core is written.
    prctl::set_dumpable(false).map_err(|errno| format!("PR_SET_DUMPABLE: {}", errno.desc()))?;
    let missing = |mechanism: &str, why: String| match required {
        false => Ok(format!("no {mechanism}")),
        true => Err(format!(
            "the sandbox cannot be closed: {mechanism}: {why}\n  fix: use a newer kernel, or set \
             daemon.sandbox = \"best-effort\""
        )),
    };
    // Landlock first: its rules open files, which the filter is free to refuse.
    let files = close_files(needs, profile, required).or_else(|why| missing("landlock", why))?;
    let calls = close_calls(needs, profile)
        .map(|()| "seccomp".to_owned())
        .or_else(|why| missing("seccomp", why))?;
    Ok(format!("{calls}, {files}"))
}

// --- files, TCP ports, signals -----------------------------------------------------------------

fn close_files(needs: &Needs, profile: Profile, required: bool) -> Result<String, String> {
    let level = if required {
        CompatLevel::HardRequirement
    } else {
        CompatLevel::BestEffort
    };
    let status = ruleset(needs, profile, level).map_err(|error| error.to_string())?;
    let known = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
        LandlockStatus::NotEnabled => return Err("not enabled when this kernel started".into()),
        LandlockStatus::NotImplemented => return Err("not in this kernel".into()),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(format!("landlock {known}")),
        RulesetStatus::PartiallyEnforced => Ok(format!("landlock {known} (partly)")),
        RulesetStatus::NotEnforced => Err("nothing of it is enforced".into()),
    }
}

fn ruleset(
    needs: &Needs,
    profile: Profile,
    level: CompatLevel,
) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    // What Linux 6.12 offers; an older kernel enforces the part that it knows.
    const KNOWN: ABI = ABI::V6;
    let connects = needs.connect && profile == Profile::Worker;
    let mut network = AccessNet::from_all(KNOWN);
    let mut scopes = Scope::from_all(KNOWN);
    if connects {
        network.remove(AccessNet::ConnectTcp);
        scopes.remove(Scope::AbstractUnixSocket);
    }
    let mut rules = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(network)?
        .scope(scopes)?
        .create()?;
    let mut read = AccessFs::ReadFile | AccessFs::ReadDir;
    if needs.exec && profile == Profile::Worker {
        read |= AccessFs::Execute;
    }
    for path in &needs.files_read {
        rules = grant(rules, Path::new(path), read)?;
    }
    if profile == Profile::Worker {
        let write = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg;
        let write = write | AccessFs::MakeDir | AccessFs::RemoveFile | AccessFs::RemoveDir;
        for path in &needs.files_write {
            rules = grant(rules, Path::new(path), write | AccessFs::Refer)?;
        }
    }
    rules.restrict_self()
}

/// What does not exist cannot be granted; the plugin will find it missing and say so.
fn grant(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    let Ok(fd) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(ABI::V6)
    };
    rules.add_rule(PathBeneath::new(fd, access))
}

// --- system calls ------------------------------------------------------------------------------

fn close_calls(needs: &Needs, profile: Profile) -> Result<(), String> {
    // Several programs, because each has one action; the strictest answer of them counts. The
    // kernel remembers which calls all of them always allow and does not run them for those.
    let mut programs = Vec::from(other_tables());
    for denial in [Denial::Kill, Denial::Refuse, Denial::Absent] {
        programs.push(program(denial, needs, profile)?);
    }
    programs.iter().try_for_each(|program| {
        apply_filter_all_threads(program).map_err(|error| error.to_string())
    })
}

fn program(denial: Denial, needs: &Needs, profile: Profile) -> Result<BpfProgram, String> {
    let action = match denial {
        Denial::Kill => SeccompAction::KillProcess,
        Denial::Refuse => SeccompAction::Errno(libc::EPERM as u32),
        Denial::Absent => SeccompAction::Errno(libc::ENOSYS as u32),
    };
    let mut table: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in RULES.iter().filter(|rule| rule.denial == denial) {
        if !(rule.granted)(needs, profile) {
            table
                .entry(rule.call)
                .or_default()
                .extend(conditions(rule.when)?);
        }
    }
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|e: seccompiler::BackendError| e.to_string())?;
    let filter = SeccompFilter::new(table, SeccompAction::Allow, action, arch);
    filter
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

/// Any of the rules suffices; within one, all conditions hold. No rule at all means always.
fn conditions(when: When) -> Result<Vec<SeccompRule>, String> {
    use SeccompCmpOp::{MaskedEq, Ne};
    let own = u64::from(std::process::id());
    let ors = match when {
        When::Always => vec![],
        When::OtherProcess => vec![vec![(0, Ne, own)]],
        When::OtherProcessNotZero => vec![vec![(0, Ne, own), (0, Ne, 0)]],
        When::Lacks { argument, flag } => vec![vec![(argument, MaskedEq(flag), 0)]],
        When::HasAny { argument, flags } => (0..64)
            .map(|bit| 1 << bit)
            .filter(|flag| flags & flag != 0)
            .map(|flag| vec![(argument, MaskedEq(flag), flag)])
            .collect(),
    };
    let rule = |ands: Vec<(u8, SeccompCmpOp, u64)>| {
        let condition = |(argument, op, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        };
        SeccompRule::new(ands.into_iter().map(condition).collect::<Result<_, _>>()?)
    };
    ors.into_iter()
        .map(rule)
        .collect::<Result<_, seccompiler::BackendError>>()
        .map_err(|error| error.to_string())
}

/// x32 calls have numbers of their own on the same architecture: no table above would match them.
#[cfg(target_arch = "x86_64")]
fn other_tables() -> [BpfProgram; 1] {
    use seccompiler::sock_filter;
    const X32_SYSCALL_BIT: u32 = 0x4000_0000;
    let step = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    [vec![
        // The number is the first word of seccomp_data (seccomp(2)).
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            0,
            1,
            X32_SYSCALL_BIT,
        ),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]]
}

#[cfg(not(target_arch = "x86_64"))]
fn other_tables() -> [BpfProgram; 0] {
    []
}

#[cfg(test)]
pub(super) mod tests;
