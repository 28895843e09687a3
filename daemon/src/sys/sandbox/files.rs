//! Landlock: which files a closed process may reach, that it opens no TCP connection, and whom it
//! may signal.
//!
//! A kernel may lack it, or know only a part; what was reached is said in words. It holds for the
//! thread that asks and those it makes.
//!
//! Invariant: a path that no need names stays closed wherever the kernel has Landlock at all.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Profile;
use crate::plan::Needs;

pub(super) fn close(needs: &Needs, profile: Profile, required: bool) -> Result<String, String> {
    let status = ruleset(needs, profile).map_err(|error| error.to_string())?;
    let known = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
        LandlockStatus::NotEnabled => return Err("not enabled when this kernel started".into()),
        LandlockStatus::NotImplemented => return Err("not in this kernel".into()),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(format!("landlock {known}")),
        RulesetStatus::PartiallyEnforced if required => Err(format!(
            "this kernel knows a part of it only: {known} of {}",
            KNOWN as i32
        )),
        RulesetStatus::PartiallyEnforced => Ok(format!("landlock {known} (partly)")),
        RulesetStatus::NotEnforced => Err("nothing of it is enforced".into()),
    }
}

/// What Linux 6.12 offers; an older kernel enforces the part that it knows.
const KNOWN: ABI = ABI::V6;

fn ruleset(needs: &Needs, profile: Profile) -> Result<RestrictionStatus, RulesetError> {
    let is_worker = matches!(profile, Profile::Worker { .. });
    let connects = needs.connect && (is_worker || profile == Profile::Hub);
    let mut network = AccessNet::from_all(KNOWN);
    let mut scopes = Scope::from_all(KNOWN);
    if connects {
        network.remove(AccessNet::ConnectTcp);
    }
    // The scope knows no difference between a peer that is answered and one that is looked for.
    let answers_names = matches!(
        profile,
        Profile::Worker {
            unix_datagrams: true
        }
    );
    if answers_names || connects && is_worker {
        scopes.remove(Scope::AbstractUnixSocket);
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(network)?
        .scope(scopes)?
        .create()?;
    let mut read = AccessFs::ReadFile | AccessFs::ReadDir;
    if needs.exec && is_worker {
        read |= AccessFs::Execute;
    }
    for path in &needs.files_read {
        rules = grant(rules, Path::new(path), read)?;
    }
    if is_worker || profile == Profile::Hub {
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
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(KNOWN)
    };
    rules.add_rule(PathBeneath::new(fd, access))
}
