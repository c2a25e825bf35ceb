//! Durations and sizes as one readable token: `500ms`, `10s`, `5m`, `1h`, `7d`; `64KiB`, `96MiB`.
//!
//! Why: a bare number has no unit, and somebody will take seconds for milliseconds.
//! Must not know: whose durations they are.

use std::time::Duration;

fn split(token: &str) -> Option<(u64, &str)> {
    let unit = token.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    Some((token[..unit].replace('_', "").parse().ok()?, &token[unit..]))
}

/// Reads a duration.
pub(super) fn duration(key: &str, token: &str) -> Result<Duration, String> {
    let fault = || format!("{key} = \"{token}\" is not a duration; hint: `500ms`, `10s`, `5m`, `1h` or `7d`");
    let (n, unit) = split(token.trim()).ok_or_else(fault)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    n.checked_mul(ms).map(Duration::from_millis).ok_or_else(fault)
}

/// Reads a size, in bytes.
pub(super) fn bytes(key: &str, token: &str) -> Result<usize, String> {
    let fault = || format!("{key} = \"{token}\" is not a size; hint: `64KiB` or `96MiB`");
    let (n, unit) = split(token.trim()).ok_or_else(fault)?;
    let scale = match unit {
        "KiB" => 1_u64 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(fault()),
    };
    n.checked_mul(scale).and_then(|b| usize::try_from(b).ok()).ok_or_else(fault)
}
