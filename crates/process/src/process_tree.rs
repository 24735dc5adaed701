//! A process and all that it started, as `/proc` shows them: what they use, and how to end them all.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::sandbox::Usage;

/// More descendants than this are not followed in one look; ending them takes several.
const PROCESSES_MAX: usize = 65_536;

/// What `/proc/<pid>/stat` says of one process, in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    parent: i32,
    is_zombie: bool,
    own_ticks: u64,
    /// Of its children that ended and were waited for.
    waited_ticks: u64,
    threads: u32,
    resident_pages: u64,
}

impl ProcessStat {
    pub(crate) fn read(pid: i32) -> Option<ProcessStat> {
        ProcessStat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the line described in proc_pid_stat(5). The program's name stands in brackets and may contain anything, brackets too.
    fn parse(line: &str) -> Option<ProcessStat> {
        let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(ProcessStat {
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: number(11)? + number(12)?,
            waited_ticks: number(13)? + number(14)?,
            threads: u32::try_from(number(17)?).ok()?,
            resident_pages: number(21)?,
        })
    }
}

/// The processes below one, it left out, and what they use together.
#[derive(Debug, Default)]
pub(crate) struct ProcessTree {
    pub(crate) pids: Vec<i32>,
    pub(crate) running: u32,
    pub(crate) threads: u32,
    pub(crate) resident_bytes: u64,
    ticks: u64,
}

impl ProcessTree {
    /// Looks at all descendants of `root`.
    pub(crate) fn below(root: i32) -> ProcessTree {
        ProcessTree::look(descendants(root), ProcessStat::read(root).map_or(0, |stat| stat.waited_ticks))
    }

    /// Looks at `root` and all its descendants.
    pub(crate) fn of(root: i32) -> ProcessTree {
        let mut pids = descendants(root);
        pids.insert(0, root);
        ProcessTree::look(pids, 0)
    }

    fn look(pids: Vec<i32>, ticks: u64) -> ProcessTree {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096);
        let mut tree = ProcessTree { ticks, ..ProcessTree::default() };
        for pid in pids {
            tree.pids.push(pid);
            let Some(stat) = ProcessStat::read(pid) else { continue };
            tree.ticks += stat.own_ticks + stat.waited_ticks;
            if !stat.is_zombie {
                tree.running += 1;
                tree.threads += stat.threads;
                tree.resident_bytes += stat.resident_pages * page_bytes;
            }
        }
        tree
    }

    pub(crate) fn cpu(&self) -> Duration {
        let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
        Duration::from_millis(self.ticks * 1000 / ticks_per_second.max(1))
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage { resident_bytes: self.resident_bytes, cpu: self.cpu(), processes: self.running }
    }

    /// Resident memory with shared pages divided among those that share them. Slower to read than `resident_bytes`, and never more.
    pub(crate) fn proportional_bytes(&self) -> u64 {
        let of_one = |pid: &i32| {
            let summary = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = summary.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        let read: Option<Vec<u64>> =
            self.pids.iter().filter(|pid| ProcessStat::read(**pid).is_some_and(|stat| !stat.is_zombie)).map(of_one).collect();
        read.map_or(self.resident_bytes, |bytes| bytes.into_iter().sum())
    }
}

/// The children of one process. The kernel has lists of them where it was built so; else all processes are asked for their parent.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) if thread.path().exists() => return children_by_parent(pid),
            Err(_) => {}
        }
    }
    children
}

fn children_by_parent(parent: i32) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| ProcessStat::read(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// All processes below `root`, nearest first.
fn descendants(root: i32) -> Vec<i32> {
    let mut found = children(root);
    let mut seen: HashSet<i32> = found.iter().copied().collect();
    let mut next = 0;
    while next < found.len() && found.len() < PROCESSES_MAX {
        for child in children(found[next]) {
            if seen.insert(child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found
}

/// Kills all that runs below `root`. First it is stopped until nothing new appears, for what forks without end is otherwise always one ahead.
/// Returns whether there was anything; those that ended must be waited for, and it must be called again until there is nothing.
pub(crate) fn kill_below(root: i32) -> bool {
    let mut stopped = HashSet::new();
    loop {
        let running = |pid: &i32| ProcessStat::read(*pid).is_some_and(|stat| !stat.is_zombie);
        let fresh: Vec<i32> = descendants(root).into_iter().filter(|pid| !stopped.contains(pid)).filter(running).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            stopped.insert(pid);
        }
    }
    for pid in &stopped {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    !stopped.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line = "42 (a) R 1 (b) S 7 42 42 0 -1 4194304 1 2 3 4 50 6 70 8 20 0 3 0 900 1000000 250 18446744073709551615 1 1";
        let expected = ProcessStat { parent: 7, is_zombie: false, own_ticks: 56, waited_ticks: 78, threads: 3, resident_pages: 250 };
        assert_eq!(ProcessStat::parse(line), Some(expected));
        assert_eq!(ProcessStat::parse("42 (cut"), None);
    }

    #[test]
    fn both_ways_of_finding_children_agree() {
        let mut child = std::process::Command::new("sleep");
        #[expect(clippy::disallowed_methods, reason = "this test needs a child that nobody watches")]
        let mut child = child.arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(children(me).contains(&pid));
        assert!(children_by_parent(me).contains(&pid));
        assert!(ProcessTree::below(me).pids.contains(&pid));
        // Not of the child alone: the kernel counts pages per processor and adds them up late, so that a small process may read as none.
        assert!(ProcessTree::of(me).resident_bytes > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children(me).contains(&pid));
    }
}
