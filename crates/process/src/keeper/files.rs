//! What a child may read, execute and write, by Landlock: a list of what is allowed. All else is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, Scope, path_beneath_rules,
};

use nix::errno::Errno;

use super::system;
use super::wire::Order;

/// The newest rights asked for. An older kernel enforces those that it knows.
const RIGHTS: ABI = ABI::V7;
/// What of the system every program may read and execute; a link stands for where it leads. Of `/proc` the secrets are its own only: Landlock lets nobody look into
/// processes outside its own domain.
const SYSTEM: &[&str] = &[
    "/bin",
    "/etc",
    "/etc/resolv.conf",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix",
    "/opt",
    "/proc",
    "/run/nscd",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sbin",
    "/snap",
    "/sys",
    "/usr",
    "/var/lib/ca-certificates",
];
/// Devices that every program may use.
const DEVICES: &[&str] = &["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];
/// Folders below a readable one that are looked into for the sake of a hidden one.
const EXPANSION_MAX: usize = 10_000;

/// Landlock's version in this kernel, or why there is none.
pub(crate) fn landlock_version() -> Result<i32, String> {
    match system::landlock_version() {
        Ok(version) => Ok(version),
        Err(Errno::EOPNOTSUPP) => Err("Landlock is not enabled in this kernel".to_owned()),
        Err(_) => Err("this kernel has no Landlock".to_owned()),
    }
}

/// What may be read and executed: each path with all below it, but for `listed`, of which the names below may be listed and nothing more.
#[derive(Debug, Default, PartialEq, Eq)]
struct Readable {
    whole: BTreeSet<PathBuf>,
    listed: BTreeSet<PathBuf>,
}

/// The folders and files that the order names as readable.
pub(super) fn named(order: &Order) -> impl Iterator<Item = &Path> {
    let sandbox = &order.sandbox;
    sandbox.readable.iter().chain(&order.working_dir).chain([&order.program]).map(PathBuf::as_path)
}

/// Resolves what exists; the rest needs no rule.
pub(super) fn resolve<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Vec<PathBuf> {
    paths.into_iter().filter_map(|path| fs::canonicalize(path).ok()).collect()
}

/// Takes the hidden folders out of the readable ones. Landlock allows and cannot except, so a folder with a hidden one below is granted entry by entry.
fn readable(granted: Vec<PathBuf>, hidden: &[PathBuf]) -> Readable {
    let mut readable = Readable::default();
    let mut open = granted;
    let mut expanded = 0;
    while let Some(path) = open.pop() {
        if hidden.contains(&path) {
            continue;
        }
        if !hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            readable.whole.insert(path);
            continue;
        }
        expanded += 1;
        if let Ok(entries) = fs::read_dir(&path)
            && expanded <= EXPANSION_MAX
        {
            // A link is not followed: it leads to something that has a rule of its own, or none.
            open.extend(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())).map(|entry| entry.path()));
        }
        readable.listed.insert(path);
    }
    readable
}

/// Makes the rules. To be called where mounts are as the child will see them, and before its user is changed; enforced by `restrict_self`.
/// `are_hidden_covered`: the hidden folders are already out of sight, so that nothing need be taken out; and `/dev/shm` is the child's own.
pub(super) fn rules(order: &Order, are_hidden_covered: bool) -> Result<RulesetCreated, RulesetError> {
    let system = SYSTEM.iter().map(Path::new);
    let granted = resolve(system.chain(named(order)));
    let hidden = if are_hidden_covered { Vec::new() } else { resolve(order.sandbox.hidden.iter().map(PathBuf::as_path)) };
    let readable = readable(granted, &hidden);
    let private = resolve(order.sandbox.private_dirs.iter().map(PathBuf::as_path));
    let reading = AccessFs::from_read(RIGHTS);
    let using: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(RIGHTS))?.scope(Scope::from_all(RIGHTS))?.create()?;
    let ruleset = ruleset
        .add_rules(path_beneath_rules(&readable.whole, reading))?
        .add_rules(path_beneath_rules(&readable.listed, AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(["/dev"], AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(DEVICES, using))?
        .add_rules(path_beneath_rules(&private, AccessFs::from_all(RIGHTS)))?;
    if !are_hidden_covered {
        return Ok(ruleset);
    }
    match PathFd::new("/dev/shm") {
        Ok(own) => ruleset.add_rule(PathBeneath::new(own, AccessFs::from_all(RIGHTS))),
        Err(_) => Ok(ruleset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_folder_is_taken_out_of_the_readable_one_around_it() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        for folder in ["code/lib", "code/data/secret", "code/data/open"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("code/main.py"), "").unwrap();
        let of = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect::<BTreeSet<_>>();
        let check = |granted: &[&str], hidden: &[&str], whole: &[&str], listed: &[&str]| {
            let granted = granted.iter().map(|path| root.join(path)).collect();
            let hidden: Vec<_> = hidden.iter().map(|path| root.join(path)).collect();
            assert_eq!(readable(granted, &hidden), Readable { whole: of(whole), listed: of(listed) });
        };
        check(&["code"], &[], &["code"], &[]);
        check(&["code"], &["code/data"], &["code/lib", "code/main.py"], &["code"]);
        check(&["code"], &["code/data/secret"], &["code/lib", "code/main.py", "code/data/open"], &["code", "code/data"]);
        check(&["code"], &["code"], &[], &[]);
        // Named itself, deeper than what is hidden.
        check(&["code/data/open"], &["code/data"], &["code/data/open"], &[]);
    }
}
