//! What every server says of its own process, under the names that Prometheus' clients share.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::IntGauge;

use super::Builder;

/// The process, as of the last scrape.
#[derive(Debug, Clone)]
pub(super) struct ProcessMetrics {
    resident_bytes: IntGauge,
    open_files: IntGauge,
}

impl ProcessMetrics {
    /// All of them; `role` is `central` or `node`.
    pub(super) fn new(build: &Builder, role: &str) -> Result<Self, prometheus::Error> {
        let what = build.gauges("closeby_build_info", "What runs here; always 1", &["version", "role"])?;
        what.with_label_values(&[env!("CARGO_PKG_VERSION"), role]).set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        build.gauge_at(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        )?;
        Ok(Self {
            resident_bytes: build
                .gauge("process_resident_memory_bytes", "Memory of the process that is resident")?,
            open_files: build.gauge("process_open_fds", "Files and connections that the process has open")?,
        })
    }

    /// Reads what the system says; where it says nothing, 0 stays.
    pub(super) fn look(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            self.resident_bytes.set(bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(i64::try_from(open.count()).unwrap_or(i64::MAX));
        }
    }
}

/// `VmRSS:   12345 kB` (proc(5)).
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_off_the_systems_word() {
        assert_eq!(resident_bytes("Name:\tcloseby\nVmRSS:\t   12345 kB\nThreads:\t1\n"), Some(12345 * 1024));
        assert_eq!(resident_bytes("VmRSS: many\n"), None);
    }
}
