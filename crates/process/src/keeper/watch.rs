//! Watches a tree of processes for limits that the kernel does not hold by itself, and for those that it does, whether they were reached.

use std::time::Duration;

use super::cgroup::{ControlGroups, Controller};
use crate::process_tree::ProcessTree;
use crate::sandbox::{Isolation, Sandbox};

/// Between two looks while the tree grows.
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// Between two looks while it computes and does not grow.
const PAUSE_COMPUTING: Duration = Duration::from_millis(100);
/// Between two looks while it idles, and between two looks at what a control group counted.
const PAUSE_IDLE: Duration = Duration::from_millis(500);

/// What a tree may use and how it was when last looked at.
#[derive(Debug)]
pub(super) struct Watch {
    memory_bytes: Option<u64>,
    processes: Option<u32>,
    /// The kernel refuses what goes beyond, by user: so the limit itself is already too many.
    is_counted_by_user: bool,
    groups: ControlGroups,
    pause: Duration,
    seen: (u64, u32, Duration),
}

impl Watch {
    pub(super) fn new(sandbox: &Sandbox, groups: ControlGroups) -> Watch {
        Watch {
            memory_bytes: sandbox.limits.memory_bytes,
            processes: sandbox.limits.processes,
            is_counted_by_user: sandbox.user.is_some(),
            groups,
            pause: PAUSE_MIN,
            seen: Default::default(),
        }
    }

    /// How long until the next look; `None` when there is nothing to look for.
    pub(super) fn pause(&self) -> Option<Duration> {
        (self.memory_bytes.is_some() || self.processes.is_some()).then_some(self.pause)
    }

    /// Looks at the tree below `root`; the reason when it must end.
    pub(super) fn look(&mut self, root: i32, isolation: Isolation) -> Option<String> {
        if let Some(reason) = self.what_the_kernel_saw() {
            return Some(reason);
        }
        let watches_memory = self.memory_bytes.filter(|_| !self.groups.has(Controller::Memory));
        let watches_processes = self.processes.filter(|_| !self.groups.has(Controller::Pids));
        if watches_memory.is_none() && watches_processes.is_none() {
            self.pause = PAUSE_IDLE;
            return None;
        }
        let tree = ProcessTree::below(root);
        // The first process of a namespace is ours.
        let threads = tree.threads.saturating_sub(u32::from(isolation == Isolation::Namespace));
        if let Some(limit) = watches_processes
            && (threads > limit || (self.is_counted_by_user && threads >= limit))
        {
            return Some(too_many_processes(limit));
        }
        if let Some(limit) = watches_memory
            && tree.resident_bytes > limit
            && tree.proportional_bytes() > limit
        {
            return Some(too_much_memory(limit));
        }
        self.pause = next_pause(self.pause, self.seen, (tree.resident_bytes, threads, tree.cpu()));
        self.seen = (tree.resident_bytes, threads, tree.cpu());
        None
    }

    /// The reason when a control group has refused or killed.
    pub(super) fn what_the_kernel_saw(&self) -> Option<String> {
        match (self.memory_bytes, self.processes) {
            (Some(limit), _) if self.groups.ran_out_of_memory() => Some(too_much_memory(limit)),
            (_, Some(limit)) if self.groups.ran_out_of_processes() => Some(too_many_processes(limit)),
            _ => None,
        }
    }
}

/// Looks again soon at what grows, and ever later at what rests.
fn next_pause(pause: Duration, before: (u64, u32, Duration), now: (u64, u32, Duration)) -> Duration {
    let has_grown = now.0 > before.0 + before.0 / 64 || now.1 > before.1;
    let longest = if now.2 > before.2 { PAUSE_COMPUTING } else { PAUSE_IDLE };
    if has_grown { PAUSE_MIN } else { (pause * 2).min(longest) }
}

fn too_much_memory(limit: u64) -> String {
    format!("killed: used more than {} of memory", size(limit))
}

fn too_many_processes(limit: u32) -> String {
    format!("killed: wanted more than {limit} processes and threads")
}

/// Why a program ended that wrote beyond the longest file.
pub(super) fn too_long_a_file(limit: u64) -> String {
    format!("killed: wrote a file of more than {}", size(limit))
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KB", bytes / KIB),
        MIB.. => format!("{} MB", bytes / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_watched_closely() {
        let at = |bytes, threads, cpu_ms| (bytes, threads, Duration::from_millis(cpu_ms));
        assert_eq!(next_pause(PAUSE_IDLE, at(1000, 2, 5), at(2000, 2, 6)), PAUSE_MIN);
        assert_eq!(next_pause(PAUSE_IDLE, at(1000, 2, 5), at(1000, 3, 6)), PAUSE_MIN);
        assert_eq!(next_pause(PAUSE_MIN, at(1000, 2, 5), at(1000, 2, 5)), PAUSE_MIN * 2);
        assert_eq!(next_pause(PAUSE_IDLE, at(1000, 2, 5), at(1000, 2, 9)), PAUSE_COMPUTING);
        assert_eq!(next_pause(PAUSE_IDLE, at(1000, 2, 5), at(900, 2, 5)), PAUSE_IDLE);
    }

    #[test]
    fn sizes_are_told_in_round_numbers() {
        assert_eq!(too_much_memory(512 * 1024 * 1024), "killed: used more than 512 MB of memory");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1 KB");
    }
}
