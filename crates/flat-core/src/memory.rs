//! How much memory this process may still take.

use std::path::Path;

/// Bytes that this process can still have; `None` where the system does not say. The least counts of what the machine, the
/// control group and the limit of the address space leave.
///
/// ```
/// // whatever the machine, no more than 2^50 bytes are free
/// assert!(flat_core::memory::available().is_none_or(|bytes| bytes < 1 << 50));
/// ```
pub fn available() -> Option<u64> {
    [machine(), group(), address_space()].into_iter().flatten().min()
}

/// A number of bytes in the unit that suits it: `1.5 GiB`.
pub fn in_words(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ => format!("{size:.1} {}", units[unit]),
    }
}

/// Free memory and swap of the machine.
fn machine() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let swap = kib(&info, "SwapFree:").unwrap_or(0);
    Some(kib(&info, "MemAvailable:")?.saturating_add(swap))
}

/// A line `name   123 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left of the memory of this process' control group and those above it (cgroup v2).
fn group() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let number = |file: &Path| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let left = |dir: &Path| {
        let (most, used) = (number(&dir.join("memory.max"))?, number(&dir.join("memory.current"))?);
        // the files' pages in memory are given back when they are asked for
        let stat = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
        Some(most.saturating_sub(used.saturating_sub(cached)))
    };
    let own = root.join(own.trim_start_matches('/'));
    own.ancestors().take_while(|dir| dir.starts_with(root)).filter_map(left).min()
}

/// What `ulimit -v` leaves.
fn address_space() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let most: u64 = line.split_whitespace().next()?.parse().ok()?;
    let used = kib(&std::fs::read_to_string("/proc/self/status").ok()?, "VmSize:")?;
    Some(most.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_the_unit_that_suits_them() {
        let said = [0, 1023, 1024, 1536 << 20, u64::MAX].map(in_words);
        assert_eq!(said, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 GiB", "16.0 EiB"]);
    }

    #[test]
    fn a_line_of_kibibytes_is_read_in_bytes_and_another_line_is_none() {
        let text = "MemTotal:  24000 kB\nMemAvailable:   1234 kB\n";
        assert_eq!(kib(text, "MemAvailable:"), Some(1234 * 1024));
        assert_eq!(kib(text, "SwapFree:"), None);
        assert_eq!(kib("MemAvailable: many kB", "MemAvailable:"), None);
    }
}
