//! The lowest rate that can reasonably lie behind what was counted.
//!
//! Why: five complaints in a thousand may be bad luck or a bad list. It is looked at after every complaint, so chance gets
//! many tries; the bound is wide enough for all of them together.

/// How many standard deviations away it lies: 1 in 1,000 at one look; over all looks at a campaign some 2 in 1,000 blocks
/// are false at half the rate that blocks.
const Z: f64 = 3.1;

/// The lower end of Wilson's interval for `bad` out of `of`; 0 where there is nothing. `bad` beyond `of` counts as all.
#[must_use]
pub fn lower(bad: u32, of: u32) -> f64 {
    if of == 0 {
        return 0.0;
    }
    let n = f64::from(of);
    let p = f64::from(bad.min(of)) / n;
    let z2 = Z * Z;
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((p + z2 / (2.0 * n) - half) / (1.0 + z2 / n)).max(0.0)
}
