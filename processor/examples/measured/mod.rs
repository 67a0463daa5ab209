//! What the examples measure of their own process, as Linux tells it.

use std::fs;

use anyhow::Context as _;

/// Time that this thread was on a processor: other than the wall clock, it does not count the waits for a busy one.
pub(crate) fn cpu_seconds() -> anyhow::Result<f64> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = schedstat.split_whitespace().next().context("no schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

/// Resident memory of this process, in megabytes.
pub(crate) fn resident() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kilobytes.parse::<usize>()? / 1_024)
}
