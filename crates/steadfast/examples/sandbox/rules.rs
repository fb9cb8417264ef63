//! What may be opened, as the crate `landlock` puts it: made here, in the parent, where there is room for errors; the child gets a descriptor.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, path_beneath_rules,
};
use std::os::fd::OwnedFd;
use std::path::Path;

/// All can be read and executed, one directory written, and `/dev/null`. `None`: this kernel has no Landlock, and that may be.
pub(crate) fn one_writable(dir: &Path, if_possible: bool) -> Result<Option<OwnedFd>, RulesetError> {
    // What the first version knows is insisted on, and newer kinds of access are not denied.
    let abi = ABI::V1;
    let level = if if_possible { CompatLevel::BestEffort } else { CompatLevel::HardRequirement };
    let rules = Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(abi))?.create()?;
    let rules = rules.add_rules(path_beneath_rules(["/"], AccessFs::from_read(abi)))?;
    let rules = rules.add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_file(abi)))?;
    Ok(rules.add_rules(path_beneath_rules([dir], AccessFs::from_all(abi)))?.into())
}
