//! What the figures were measured on.

use std::fs;

/// One line: cores, processor, memory, kernel.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
            .unwrap_or_else(|| "?".into())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes: f64 = field(&memory, "MemTotal")
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    format!(
        "{cores} cores of {}, {:.0} GiB, Linux {}",
        field(&cpus, "model name"),
        kilobytes / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// The version of a crate in a lock file.
pub(crate) fn locked(lock: &str, name: &str) -> String {
    let mut lines = lock.lines();
    let wanted = format!("name = \"{name}\"");
    lines
        .by_ref()
        .find(|line| **line == wanted)
        .and_then(|_| lines.next())
        .and_then(|line| line.strip_prefix("version = "))
        .map_or_else(
            || "?".into(),
            |version| version.trim_matches('"').to_owned(),
        )
}
