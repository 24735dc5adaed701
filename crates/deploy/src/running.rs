//! A stack that is there: its keys, their usage, its logs, its alarms, its agent. Each by the service's own calls; what is found is what AWS says.

pub mod agent;
pub mod alarms;
pub mod keys;
pub mod logs;
pub mod usage;

/// Pages of any list; beyond that somebody keeps more here than a front desk has use for.
const PAGES_MAX: u32 = 100;
