//! The table of the suppressed, in memory: eight bytes of the hash and one of flags for each.
//!
//! Why: it is asked for every message and holds ten million: so it keeps no address, no text and no pointer, and two
//! recipients share an entry once in a million million lookups.
//! Must not know: where suppressions come from, whether all of them have come.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use super::address::Hashed;
use super::suppression::{Key, Scope};
use crate::job::Lane;
use crate::job::digest::AsItIs;
use crate::outcome::Cause;

/// Parts with a lock each: one that grows holds up the others' readers not at all, and its own for a millisecond.
const PARTS: usize = 256;

/// What an entry is found by. Bytes, not a number: so an entry is nine bytes long and not sixteen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot([u8; 8]);

impl Slot {
    /// A tenant's own entry lies elsewhere than everybody's of the same recipient.
    fn new(recipient: Hashed, tenant: Option<&str>) -> Self {
        let mut slot = [0; 8];
        slot.copy_from_slice(&recipient.0[..8]);
        let Some(tenant) = tenant else { return Self(slot) };
        let mut own = DefaultHasher::new();
        tenant.hash(&mut own);
        Self((u64::from_le_bytes(slot) ^ own.finish()).to_le_bytes())
    }

    /// Its part, by a byte that the part's own map does not look at first.
    fn part(self) -> usize {
        usize::from(self.0[4])
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.0));
    }
}

type Part = HashMap<Slot, Flags, BuildHasherDefault<AsItIs>>;

/// Why nothing at all may be sent (the lower three bits) and why no marketing; 0: it may.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    fn shift(scope: Scope) -> u32 {
        match scope {
            Scope::All => 0,
            Scope::Marketing => 3,
        }
    }

    fn with(self, scope: Scope, cause: Option<Cause>) -> Self {
        let number = cause.and_then(|cause| Cause::ALL.iter().position(|known| *known == cause)).map_or(0, |n| n + 1);
        let shift = Self::shift(scope);
        Self(self.0 & !(0b111 << shift) | u8::try_from(number).unwrap_or(0) << shift)
    }

    fn get(self, scope: Scope) -> Option<Cause> {
        let number = usize::from(self.0 >> Self::shift(scope) & 0b111);
        Cause::ALL.get(number.checked_sub(1)?).copied()
    }
}

/// Who must not be written to. Shared: one writes, many read.
pub struct Table(Box<[RwLock<Part>]>);

impl Default for Table {
    fn default() -> Self {
        Self((0..PARTS).map(|_| RwLock::default()).collect())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} entries)", self.len())
    }
}

impl Table {
    /// Suppresses, or takes it back (`None`).
    pub fn set(&self, key: &Key<'_>, cause: Option<Cause>) {
        let slot = Slot::new(key.recipient, key.tenant);
        let mut part = self.0[slot.part()].write().unwrap_or_else(PoisonError::into_inner);
        let flags = part.get(&slot).copied().unwrap_or_default().with(key.scope, cause);
        if flags == Flags::default() {
            part.remove(&slot);
        } else {
            part.insert(slot, flags);
        }
    }

    /// Why this tenant must not send to this recipient in this lane, if so.
    #[must_use]
    pub fn find(&self, recipient: Hashed, tenant: &str, lane: Lane) -> Option<Cause> {
        let scopes: &[Scope] = match lane {
            Lane::Transactional => &[Scope::All],
            Lane::Marketing => &Scope::ALL,
        };
        [None, Some(tenant)].into_iter().find_map(|tenant| {
            let slot = Slot::new(recipient, tenant);
            let part = self.0[slot.part()].read().unwrap_or_else(PoisonError::into_inner);
            let flags = part.get(&slot).copied()?;
            scopes.iter().find_map(|scope| flags.get(*scope))
        })
    }

    /// Entries: recipients, counted once for everybody and once for each tenant of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether nobody is suppressed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
