//! Users of the operating system that sessions have for themselves, where the host is root: what one writes, another cannot read, and the kernel counts each by itself.
//!
//! They have no names and no homes. A program that such a user cannot get at, because a folder on the way is closed to others, runs as the host's user instead,
//! without its capabilities, which the log says.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_process::SandboxUser;
use frontdesk_store::LocalProgram;

/// How many there are, far more than sessions.
pub const SESSION_USERS: u32 = 65_536;

/// Hands out users.
#[derive(Debug, Clone)]
pub(crate) struct SessionUsers {
    first: u32,
    leased: Arc<Mutex<HashSet<u32>>>,
}

/// A session's user, its own until this is dropped.
#[derive(Debug)]
pub(crate) struct UserLease {
    pub(crate) user: SandboxUser,
    users: SessionUsers,
}

impl SessionUsers {
    /// Those with ids from `first` on.
    pub(crate) fn new(first: u32) -> SessionUsers {
        SessionUsers { first, leased: Arc::default() }
    }

    /// A user for a session's process; nothing when all are taken.
    pub(crate) fn lease(&self, session: u64) -> Option<UserLease> {
        // Poison is ignored: the set is consistent between any two of its operations.
        let mut leased = self.leased.lock().unwrap_or_else(PoisonError::into_inner);
        // Not the lowest free one: whatever a session has left behind is nobody's for a long time.
        let begin = u32::try_from(session % u64::from(SESSION_USERS)).unwrap_or(0);
        let ids = (0..SESSION_USERS).map(|step| self.first.saturating_add((begin + step) % SESSION_USERS));
        let id = ids.into_iter().find(|id| !leased.contains(id))?;
        leased.insert(id);
        Some(UserLease { user: SandboxUser { uid: id, gid: id }, users: self.clone() })
    }
}

impl Drop for UserLease {
    fn drop(&mut self) {
        self.users.leased.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user.uid);
    }
}

/// The first folder or file that keeps other users from running a program; nothing when they can.
pub(crate) fn closed_to_others(executable: &Path, program: &LocalProgram) -> Option<PathBuf> {
    let needed = [executable].into_iter().chain(program.working_dir.as_deref()).chain(program.readable.iter().map(PathBuf::as_path));
    needed.flat_map(|path| [Some(path.to_owned()), std::fs::canonicalize(path).ok()]).flatten().find_map(|path| closed_on_the_way(&path))
}

fn closed_on_the_way(path: &Path) -> Option<PathBuf> {
    let is_closed = |path: &&Path| {
        let Ok(found) = std::fs::metadata(path) else { return false };
        // A folder must be passed through, a file read; what is executed is both.
        let wanted = if found.is_dir() { 0o001 } else { 0o004 };
        found.mode() & wanted == 0
    };
    path.ancestors().find(is_closed).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn no_two_sessions_have_the_same_user() {
        let users = SessionUsers::new(1_900_000_000);
        let (one, two) = (users.lease(7).unwrap(), users.lease(7).unwrap());
        assert_eq!((one.user.uid, two.user.uid), (1_900_000_007, 1_900_000_008));
        drop(one);
        let again = users.lease(7).unwrap();
        assert_eq!((again.user.uid, again.user.gid), (1_900_000_007, 1_900_000_007));
        let wrapped = users.lease(u64::from(SESSION_USERS) * 3 + 9).unwrap();
        assert_eq!(wrapped.user.uid, 1_900_000_009);
    }

    #[test]
    fn a_closed_folder_on_the_way_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let program = inner.join("program");
        std::fs::write(&program, "").unwrap();
        let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let check = |expected: Option<&Path>| assert_eq!(closed_on_the_way(&program).as_deref(), expected);
        mode(folder.path(), 0o711);
        mode(&inner, 0o755);
        mode(&program, 0o755);
        check(None);
        mode(&program, 0o700);
        check(Some(&program));
        mode(&program, 0o755);
        mode(&inner, 0o750);
        check(Some(&inner));
        mode(&inner, 0o711);
        mode(folder.path(), 0o700);
        check(Some(folder.path()));
    }
}
