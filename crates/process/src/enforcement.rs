//! What of a sandbox is enforced on this machine, by what, and what is not and why.

use crate::sandbox::Sandbox;

/// One thing that a sandbox asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// What is asked for: `memory`, `hidden folders`.
    pub what: &'static str,
    /// What enforces it; `None` where nothing does.
    pub by: Option<&'static str>,
    /// Why it is not enforced, or not wholly.
    pub why_not: Option<String>,
}

impl Enforcement {
    fn by(what: &'static str, by: &'static str) -> Enforcement {
        Enforcement { what, by: Some(by), why_not: None }
    }

    fn not(what: &'static str, why_not: impl Into<String>) -> Enforcement {
        Enforcement { what, by: None, why_not: Some(why_not.into()) }
    }

    #[cfg(target_os = "linux")]
    fn but(self, reservation: impl Into<String>) -> Enforcement {
        Enforcement { why_not: Some(reservation.into()), ..self }
    }
}

/// What this machine enforces of what the sandbox asks for; nothing is said of what it does not ask for. Tries whether control groups can be made, so it is not for
/// the way of a request.
#[must_use]
pub fn enforcement(sandbox: &Sandbox) -> Vec<Enforcement> {
    report(sandbox)
}

#[cfg(not(target_os = "linux"))]
fn report(sandbox: &Sandbox) -> Vec<Enforcement> {
    match sandbox.isolation {
        crate::sandbox::Isolation::None => Vec::new(),
        _ => vec![Enforcement::not("sandbox", "only Linux has what it takes: children run with the rights of the host")],
    }
}

#[cfg(target_os = "linux")]
fn report(sandbox: &Sandbox) -> Vec<Enforcement> {
    use crate::sandbox::Isolation;

    if sandbox.isolation == Isolation::None {
        return vec![Enforcement::not("sandbox", "it is switched off: children run with the rights of the host")];
    }
    let mut report = vec![
        Enforcement::by(
            "nothing outlives the host",
            if sandbox.isolation == Isolation::Namespace { "process namespace" } else { "warden (child subreaper)" },
        ),
        Enforcement::by("no new privileges", "no_new_privs"),
    ];
    report.extend(linux::files(sandbox));
    report.extend(linux::user(sandbox));
    report.extend(linux::limits(sandbox));
    report.extend(linux::namespaces(sandbox));
    report
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use nix::unistd::geteuid;

    use super::Enforcement;
    use crate::keeper::{Controller, SYS_ADMIN, has_capability, landlock_version, probe};
    use crate::sandbox::{Isolation, Sandbox};

    pub(super) fn files(sandbox: &Sandbox) -> Vec<Enforcement> {
        let landlock = landlock_version();
        let has_mounts = sandbox.isolation == Isolation::Namespace || has_capability(SYS_ADMIN);
        let mut report = vec![match &landlock {
            Ok(version) => {
                let files = Enforcement::by("files", "Landlock");
                if *version < 6 {
                    files.but(format!("Landlock {version} cannot forbid signals to other processes of the same user"))
                } else {
                    files
                }
            }
            Err(why_not) => Enforcement::not("files", format!("{why_not}: children read and write what their user may")),
        }];
        if !sandbox.hidden.is_empty() {
            report.push(match &landlock {
                _ if has_mounts => Enforcement::by("hidden folders", "mount namespace"),
                Ok(_) => Enforcement::by("hidden folders", "Landlock")
                    .but("the names of files in one can be listed where it lies inside a readable folder"),
                Err(why_not) => Enforcement::not("hidden folders", format!("{why_not}, and mounts are not ours to make")),
            });
        }
        report
    }

    pub(super) fn user(sandbox: &Sandbox) -> Option<Enforcement> {
        let root = geteuid().is_root();
        match sandbox.user {
            Some(_) if root => Some(Enforcement::by("own user", "setuid")),
            Some(_) => Some(Enforcement::not("own user", "the host is not root: no child can be started so")),
            None if root => {
                Some(Enforcement::not("own user", "none is chosen: children run as root without its capabilities, and own its files"))
            }
            None => None,
        }
    }

    pub(super) fn limits(sandbox: &Sandbox) -> Vec<Enforcement> {
        let limits = &sandbox.limits;
        let mut report = Vec::new();
        if limits.memory_bytes.is_some() {
            report.push(by_group_or_watch("memory", Controller::Memory));
        }
        if limits.processes.is_some() {
            report.push(by_group_or_watch("processes", Controller::Pids));
        }
        if limits.open_files.is_some() {
            report.push(Enforcement::by("open files", "RLIMIT_NOFILE"));
        }
        if limits.file_bytes.is_some() {
            report.push(Enforcement::by("file size", "RLIMIT_FSIZE"));
        }
        if limits.cpus.is_some() {
            report.push(match probe(Controller::Cpu) {
                Ok(group) => Enforcement::by("processors", group),
                Err(why_not) => Enforcement::not("processors", why_not),
            });
        }
        report
    }

    fn by_group_or_watch(what: &'static str, controller: Controller) -> Enforcement {
        match probe(controller) {
            Ok(group) => Enforcement::by(what, group),
            Err(why_not) => Enforcement::by(what, "watching, every 25 to 500 ms").but(why_not),
        }
    }

    pub(super) fn namespaces(sandbox: &Sandbox) -> Vec<Enforcement> {
        if sandbox.isolation != Isolation::Namespace {
            return Vec::new();
        }
        ["process namespace", "network namespace"]
            .into_iter()
            .map(|what| match user_namespaces() {
                _ if has_capability(SYS_ADMIN) => Enforcement::by(what, "namespaces"),
                Ok(()) => Enforcement::by(what, "user namespace"),
                Err(why_not) => Enforcement::not(what, format!("{why_not}: no child can be started so")),
            })
            .collect()
    }

    /// Whether an ordinary user may make namespaces, by the settings that distributions forbid it with.
    fn user_namespaces() -> Result<(), String> {
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned());
        let forbidding = [
            ("user/max_user_namespaces", "0"),
            ("kernel/unprivileged_userns_clone", "0"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ];
        match forbidding.into_iter().find(|(name, value)| setting(name).as_deref() == Some(value)) {
            Some((name, value)) => Err(format!("{} is {value}", name.replace('/', "."))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Isolation, Limits};

    #[test]
    fn only_what_is_asked_for_is_reported_and_everything_with_a_means_or_a_reason() {
        let whats = |sandbox: &Sandbox| enforcement(sandbox).into_iter().map(|entry| entry.what).collect::<Vec<_>>();
        let sandbox = Sandbox { isolation: Isolation::Process, ..Sandbox::default() };
        assert!(!whats(&sandbox).contains(&"memory"));
        let limits = Limits { memory_bytes: Some(1), cpus: Some(1.0), ..Limits::default() };
        let sandbox = Sandbox { isolation: Isolation::Namespace, limits, hidden: vec!["/var".into()], ..Sandbox::default() };
        if cfg!(target_os = "linux") {
            for expected in ["memory", "processors", "hidden folders", "network namespace"] {
                assert!(whats(&sandbox).contains(&expected), "{expected}");
            }
        }
        assert!(enforcement(&sandbox).iter().all(|entry| entry.by.is_some() || entry.why_not.is_some()));
    }
}
