//! Control groups, version 1 or 2: a child group for one sandbox below the host's own, where the host may make one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sandbox::Limits;

/// Names of our groups begin so; the warden's process id follows.
const PREFIX: &str = "frontdesk-";
/// The period that processor time is handed out in, in microseconds: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// What a control group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub(crate) const ALL: [Controller; 3] = [Controller::Memory, Controller::Pids, Controller::Cpu];

    fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Cpu => "cpu",
        }
    }

    fn is_wanted(self, limits: &Limits) -> bool {
        match self {
            Controller::Memory => limits.memory_bytes.is_some(),
            Controller::Pids => limits.processes.is_some(),
            Controller::Cpu => limits.cpus.is_some(),
        }
    }
}

/// The host's own group in the hierarchy that has a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: u8,
    folder: PathBuf,
}

/// Finds the host's own group, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc_pid_mountinfo(5)).
fn place(controller: Controller, groups: &str, mounts: &str) -> Option<Place> {
    let group_of = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then(|| PathBuf::from(path))
        })
    };
    let (version, group) = match group_of(&|controllers| controllers.split(',').any(|name| name == controller.name())) {
        Some(group) => (1, group),
        None => (2, group_of(&str::is_empty)?),
    };
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_it = match version {
            1 => kind == "cgroup" && options.split(',').any(|option| option == controller.name()),
            _ => kind == "cgroup2",
        };
        if !is_it {
            return None;
        }
        let mut before = before.split(' ').skip(3);
        let (root, mount_point) = (before.next()?, before.next()?);
        // In a container the mount shows a part of the hierarchy, and the group's path may begin above it.
        let below = group.strip_prefix(root).or_else(|_| group.strip_prefix("/")).ok()?;
        Some(Place { version, folder: Path::new(mount_point).join(below) })
    })
}

fn place_here(controller: Controller) -> Result<Place, String> {
    let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let place =
        place(controller, &groups, &mounts).ok_or_else(|| format!("no control group hierarchy with {} is mounted", controller.name()))?;
    if place.version == 2 {
        hand_down(controller, &place.folder)?;
    }
    Ok(place)
}

/// Version 2 wants a controller to be handed down to child groups by their parent's `cgroup.subtree_control`.
fn hand_down(controller: Controller, folder: &Path) -> Result<(), String> {
    let has = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.split_ascii_whitespace().any(|name| name == controller.name())
    };
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        return Err(format!("the host's control group has no {} controller", controller.name()));
    }
    let handed_down = fs::write(folder.join("cgroup.subtree_control"), format!("+{}", controller.name()));
    handed_down.map_err(|error| format!("{} cannot be handed down from {}: {error}", controller.name(), folder.display()))
}

/// Whether a group could be made, and by which version; else why not. Makes one and removes it.
pub(crate) fn probe(controller: Controller) -> Result<&'static str, String> {
    let place = place_here(controller)?;
    let folder = place.folder.join(format!("{PREFIX}probe-{}", std::process::id()));
    fs::create_dir(&folder).map_err(|error| format!("no control group can be made in {}: {error}", place.folder.display()))?;
    let _ = fs::remove_dir(&folder);
    Ok(if place.version == 1 { "control group, version 1" } else { "control group, version 2" })
}

/// The groups of one sandbox: one in version 2, one for each controller in version 1.
#[derive(Debug, Default)]
pub(super) struct ControlGroups {
    /// With what each limits.
    groups: Vec<(Controller, Place)>,
}

impl ControlGroups {
    /// Makes what the limits want. What cannot be made is left out, and [`ControlGroups::has`] tells.
    /// `overhead` is added to the number of processes: ours inside.
    pub(super) fn make(limits: &Limits, overhead: u32) -> ControlGroups {
        let name = format!("{PREFIX}{}", std::process::id());
        let mut made = ControlGroups::default();
        for controller in Controller::ALL.into_iter().filter(|controller| controller.is_wanted(limits)) {
            let Ok(parent) = place_here(controller) else { continue };
            let place = Place { folder: parent.folder.join(&name), ..parent };
            // Left behind by a process with the same id, or made a moment ago for another controller.
            let exists = made.groups.iter().any(|(_, made)| made.folder == place.folder);
            if !exists {
                let _ = fs::remove_dir(&place.folder);
                if fs::create_dir(&place.folder).is_err() {
                    continue;
                }
            }
            if set_limit(controller, &place, limits, overhead).is_ok() {
                made.groups.push((controller, place));
            } else if !exists {
                let _ = fs::remove_dir(&place.folder);
            }
        }
        made
    }

    pub(super) fn has(&self, controller: Controller) -> bool {
        self.place(controller).is_some()
    }

    fn place(&self, controller: Controller) -> Option<&Place> {
        self.groups.iter().find(|(of, _)| *of == controller).map(|(_, place)| place)
    }

    /// Moves the calling process in.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.groups.iter().try_for_each(|(_, place)| fs::write(place.folder.join("cgroup.procs"), "0"))
    }

    /// Whether the kernel has killed somebody for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.place(Controller::Memory).is_some_and(|place| {
            let file = if place.version == 1 { "memory.oom_control" } else { "memory.events" };
            counter(&place.folder.join(file), "oom_kill") > 0
        })
    }

    /// Whether somebody was refused a process.
    pub(super) fn ran_out_of_processes(&self) -> bool {
        self.place(Controller::Pids).is_some_and(|place| counter(&place.folder.join("pids.events"), "max") > 0)
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        for (_, place) in &self.groups {
            let _ = fs::remove_dir(&place.folder);
        }
    }
}

/// Removes the groups of wardens that were killed before they could. A group with a process in it stays: the kernel refuses.
pub(super) fn sweep() {
    for controller in Controller::ALL {
        let Ok(place) = place_here(controller) else { continue };
        let Ok(entries) = fs::read_dir(&place.folder) else { continue };
        for entry in entries.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<i32>().ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// A line `name number` of a file.
fn counter(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_default()
}

fn set_limit(controller: Controller, place: &Place, limits: &Limits, overhead: u32) -> io::Result<()> {
    let set = |file: &str, value: String| fs::write(place.folder.join(file), value);
    match (controller, place.version) {
        (Controller::Memory, 1) => {
            let bytes = limits.memory_bytes.unwrap_or(u64::MAX).to_string();
            set("memory.limit_in_bytes", bytes.clone())?;
            // Kernels without swap accounting have no such file, and those without swap do not need it.
            let _ = set("memory.memsw.limit_in_bytes", bytes);
            Ok(())
        }
        (Controller::Memory, _) => {
            set("memory.max", limits.memory_bytes.unwrap_or(u64::MAX).to_string())?;
            let _ = set("memory.swap.max", "0".to_owned());
            let _ = set("memory.oom.group", "1".to_owned());
            Ok(())
        }
        (Controller::Pids, _) => set("pids.max", (limits.processes.unwrap_or(u32::MAX - overhead) + overhead).to_string()),
        (Controller::Cpu, version) => {
            let quota_us = (limits.cpus.unwrap_or(1.0).max(0.01) * CPU_PERIOD_US as f64) as u64;
            if version == 1 {
                set("cpu.cfs_period_us", CPU_PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", quota_us.to_string())
            } else {
                set("cpu.max", format!("{quota_us} {CPU_PERIOD_US}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(groups: &str, mounts: &str, expected: Option<(u8, &str)>) {
        let found = place(Controller::Memory, groups, mounts);
        assert_eq!(found, expected.map(|(version, folder)| Place { version, folder: folder.into() }), "{groups}");
    }

    const VERSION_1: &str = "36 30 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
    const VERSION_2: &str = "36 30 0:31 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn the_hosts_own_group_is_found() {
        check("4:memory:/a/b\n0::/", VERSION_1, Some((1, "/sys/fs/cgroup/memory/a/b")));
        check("0::/user.slice/x", VERSION_2, Some((2, "/sys/fs/cgroup/user.slice/x")));
        // A container's mount begins at its own group.
        let of_container = VERSION_1.replace(" / /sys", " /docker/1 /sys");
        check("4:memory:/docker/1/c", &of_container, Some((1, "/sys/fs/cgroup/memory/c")));
        // Version 2 is mounted, but version 1 holds the controller and is not.
        check("4:memory:/a", VERSION_2, None);
        check("", VERSION_1, None);
    }

    #[test]
    fn a_counter_is_read_by_its_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        fs::write(&file, "oom 3\noom_kill 2\n").unwrap();
        assert_eq!(counter(&file, "oom_kill"), 2);
        assert_eq!(counter(&file, "max"), 0);
    }
}
