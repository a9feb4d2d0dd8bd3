//! The end of everything below a process that is no pid 1: the kernel does not do it then.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bound on the whole; killed processes end within milliseconds unless a disk hangs.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Kills all descendants and waits for them. The caller adopts orphans (it is a subreaper), so
/// that none can leave the tree by losing its parent.
pub(crate) fn end_descendants() {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        for pid in descendants(&parents(), std::process::id() as i32) {
            // One that has ended meanwhile is what was wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                // No child is left, and so no descendant.
                Err(_) => return,
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Every process and its parent.
fn parents() -> Vec<(i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// Field 4 of `/proc/PID/stat`.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and parentheses: fields count from behind it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(parents: &[(i32, i32)], root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents {
        children.entry(*parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        // Taken out: pids that were used again while we read cannot make it a circle.
        let mut below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.append(&mut below);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_generations_and_nobody_else() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 4), (4, 7)];
        let mut below = descendants(&parents, 2);
        below.sort_unstable();
        assert_eq!(below, [3, 4, 4, 7]);
        assert!(descendants(&parents, 9).is_empty());
        assert_eq!(
            parent(std::process::id() as i32),
            Some(std::os::unix::process::parent_id() as i32)
        );
    }
}
