//! Why somebody must not be written to. Closed: it stands in suppressions, outcomes and metrics.

use serde::{Deserialize, Serialize};

/// Why a recipient is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The address, number or device does not exist.
    HardBounce,
    /// They called a message spam.
    Complaint,
    /// They want no more.
    Unsubscribe,
    /// The vendor has them on a list of its own.
    Vendor,
    /// Too many messages in a row did not arrive.
    SoftBounces,
    /// Somebody said so by hand, or in words of a later version.
    Manual,
}

impl Cause {
    /// Every cause, in the order of the docs.
    pub const ALL: [Self; 6] =
        [Self::HardBounce, Self::Complaint, Self::Unsubscribe, Self::Vendor, Self::SoftBounces, Self::Manual];

    /// The word in suppressions, outcomes and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Vendor => "vendor",
            Self::SoftBounces => "soft_bounces",
            Self::Manual => "manual",
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|cause| cause.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no reason; hint: {}", known()))
    }
}
