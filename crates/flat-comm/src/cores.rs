//! Threads for a rank: the cores of its machine, shared with the other ranks there.

use crate::launcher::Launcher;

/// How many threads a rank should have, at least one. A rank that its launcher bound to cores of its own takes them all; others share
/// the cores that all ranks of the machine may use.
pub fn threads_of_a_rank(launcher: &Launcher) -> usize {
    let own = std::thread::available_parallelism().map_or(1, usize::from);
    let launchers = allowed_for_launcher(launcher).unwrap_or(own);
    share(own, launchers, launcher.local_size)
}

/// The share of one rank of `local_size`, of which each may use `own` cores and the launcher `launchers`.
fn share(own: usize, launchers: usize, local_size: Option<usize>) -> usize {
    // with fewer cores than the launcher has, they are this rank's alone
    if own < launchers { own } else { (own / local_size.unwrap_or(1).max(1)).max(1) }
}

/// Cores that the launcher itself may use: the nearest ancestor without the variables of a rank. `None` where it cannot be looked at.
#[cfg(target_os = "linux")]
fn allowed_for_launcher(launcher: &Launcher) -> Option<usize> {
    let variable = format!("{}=", launcher.rank_variable());
    let is_rank = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(variable.as_bytes()))
    };
    let mut pid = std::os::unix::process::parent_id();
    // a script around the program, or `time`, is a rank as well
    while pid > 1 && is_rank(pid) {
        pid = status(pid, "PPid:")?.parse().ok()?;
    }
    count(&status(pid, "Cpus_allowed_list:")?)
}

#[cfg(not(target_os = "linux"))]
fn allowed_for_launcher(_: &Launcher) -> Option<usize> {
    None
}

/// A line of a process' status.
#[cfg(target_os = "linux")]
fn status(pid: u32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_string()))
}

/// How many cores a list such as `0-3,8` has.
#[cfg(target_os = "linux")]
fn count(list: &str) -> Option<usize> {
    list.split(',').try_fold(0, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some(sum + (last + 1).checked_sub(first)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_ranks_keep_their_cores_and_others_share_them() {
        assert_eq!(share(1, 8, Some(2)), 1, "bound to a core");
        assert_eq!(share(4, 8, Some(2)), 4, "bound to a socket");
        assert_eq!(share(8, 8, Some(2)), 4, "not bound");
        assert_eq!(share(2, 2, Some(5)), 1, "more ranks than cores");
        assert_eq!(share(8, 8, None), 8, "nobody knows of others");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn lists_of_cores_are_counted() {
        assert_eq!(count("0-3,8"), Some(5));
        assert_eq!(count("7"), Some(1));
        assert_eq!(count(""), None);
    }
}
