//! What the threads of this process cost that are not the measurement's own: the gateway's, where one runs here.

use std::fs;
use std::time::Duration;

/// The name of the threads that measure.
pub(super) const LANE: &str = "bench-lane";

/// The CPU time of all threads of this process that run and do not measure. `None` where the system does not tell:
/// only Linux does.
pub(super) fn spent_elsewhere() -> Option<Duration> {
    let mut spent = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        // A thread that has ended meanwhile was none of the gateway's.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        if name.trim_end() == LANE {
            continue;
        }
        let Ok(account) = fs::read_to_string(task.join("schedstat")) else { continue };
        spent += Duration::from_nanos(account.split(' ').next()?.parse().ok()?);
    }
    Some(spent)
}
