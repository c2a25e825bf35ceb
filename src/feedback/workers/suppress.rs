//! Who must not be written to any more after an event.
//!
//! Why: whose fault it was decides how far it goes. An address that does not exist does not exist for anybody; somebody
//! who has had enough of one tenant may wait for another's parcel.

use crate::event::{Happened, Record};
use crate::job::{Channel, Lane, Wall};
use crate::outcome::Cause;
use crate::recipient::address::Hashed;
use crate::recipient::suppression::{Scope, Suppression};
use crate::reputation::SoftBounces;

/// The suppression that follows, if one does.
#[must_use]
pub fn after(event: &Record<'_>, soft: &mut SoftBounces) -> Option<Suppression> {
    let recipient = Hashed::from_hex(&event.recipient)?;
    let own = Some(&*event.tenant).filter(|tenant| !tenant.is_empty());
    let (reason, scope, tenant) = match event.happened {
        Happened::BouncedHard => (Cause::HardBounce, Scope::All, None),
        // A vendor's list says that somebody left this account, not why: as narrow as what it answered.
        Happened::VendorSuppressed if event.channel == Channel::Email && event.lane != Some(Lane::Transactional) => {
            (Cause::Vendor, Scope::Marketing, own)
        }
        Happened::VendorSuppressed => (Cause::Vendor, Scope::All, own),
        Happened::Complained => (Cause::Complaint, Scope::Marketing, own),
        // A text message is answered with STOP: that means every one of this sender's.
        Happened::Unsubscribed if event.channel == Channel::Sms => (Cause::Unsubscribe, Scope::All, own),
        Happened::Unsubscribed => (Cause::Unsubscribe, Scope::Marketing, own),
        Happened::BouncedSoft if soft.bounced(event.channel, &event.recipient, event.at_ms) => {
            (Cause::SoftBounces, Scope::All, None)
        }
        Happened::Delivered => {
            soft.delivered(event.channel, &event.recipient);
            return None;
        }
        Happened::BouncedSoft | Happened::BouncedBlocked | Happened::Opened | Happened::Clicked => return None,
    };
    Some(Suppression {
        channel: event.channel,
        tenant: tenant.map(Into::into),
        recipient,
        scope,
        reason,
        by: (&*event.provider).into(),
        at: Wall(event.at_ms),
    })
}
