//! What the process itself takes, read when somebody looks.

use opentelemetry::metrics::Meter;

/// Has the process looked at with every look at the metrics.
pub(super) fn observe(meter: &Meter) {
    meter
        .u64_observable_gauge("registrar.process.resident.memory")
        .with_unit("By")
        .with_description("Memory of the process that is in RAM")
        .with_callback(|told| {
            if let Some(bytes) = resident_bytes() {
                told.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .f64_observable_counter("registrar.process.cpu")
        .with_unit("s")
        .with_description("CPU time that the process has used")
        .with_callback(|told| told.observe(cpu_seconds(), &[]))
        .build();
}

/// As Linux tells it; none elsewhere.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: it only asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(resident * u64::try_from(page).ok()?)
}

fn cpu_seconds() -> f64 {
    // SAFETY: all zeros is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it is ours to be written to. It cannot fail for this process.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_time() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(cpu_seconds() > 0.0);
    }
}
