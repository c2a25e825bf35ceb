//! Who waits in one lane, and whose turn it is: fair by weight among tenants, then by arrival.
//!
//! Why: one queue in the order of arrival belongs to whoever asks most. Each tenant has a clock of its own that
//! runs by what it was given, slower the more it weighs; the tenant whose clock is furthest back goes next. One that
//! was away does not come back with credit: its clock is set to the present one (start-time fair queueing,
//! Goyal, Vin and Cheng, 1996). Of those that ask for nothing a bounded number is remembered, so that a hundred
//! thousand tenants cost an ask no more than ten.
//! Must not know: limits, slots, why somebody must wait.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use slab::Slab;

use super::Ask;

/// How far a clock runs for one message at weight 1.
const MESSAGE: u64 = 1 << 20;
/// Most tenants that are remembered though they ask for nothing.
pub const IDLE_MAX: usize = 1024;

/// An ask, and when it came.
pub type Waiting = (Instant, Ask);

/// One lane's asks.
#[derive(Debug, Default)]
pub struct Turns {
    tenants: Slab<Tenant>,
    by_name: HashMap<Box<str>, usize>,
    /// Tenants somebody of whom may go: clock, number of the first ask, tenant.
    order: BTreeSet<(u64, u64, usize)>,
    /// Tenants that ask for nothing: clock, tenant. At most [`IDLE_MAX`].
    idle: BTreeSet<(u64, usize)>,
    /// Asks that their own limits keep until a time; by number, so that equal times keep their order.
    parked: BinaryHeap<Reverse<Parked>>,
    /// Where newcomers begin: the clock of whoever went last, or of the last that was forgotten.
    now: u64,
    /// The number of the latest ask.
    latest: u64,
    /// Asks that wait, parked ones too.
    len: usize,
}

#[derive(Debug)]
struct Tenant {
    name: Box<str>,
    clock: u64,
    asks: VecDeque<(u64, Waiting)>,
    parked: usize,
}

impl Tenant {
    fn is_idle(&self) -> bool {
        self.asks.is_empty() && self.parked == 0
    }
}

#[derive(Debug)]
struct Parked {
    until: Instant,
    number: u64,
    tenant: usize,
    waiting: Waiting,
}

impl PartialEq for Parked {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Parked {}

impl PartialOrd for Parked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.number).cmp(&(other.until, other.number))
    }
}

impl Turns {
    /// Whether nobody may go now; some may be parked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether nobody waits, parked or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asks that wait, parked ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tenants that are remembered: those with an ask that waits, and at most [`IDLE_MAX`] others.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.tenants.len()
    }

    /// Takes an ask in.
    pub fn push(&mut self, waiting: Waiting) {
        let id = match self.by_name.get(&*waiting.1.flow.tenant) {
            Some(id) => *id,
            None => self.join(&waiting.1.flow.tenant),
        };
        let tenant = &self.tenants[id];
        if tenant.is_idle() {
            self.idle.remove(&(tenant.clock, id));
        }
        self.len += 1;
        self.latest += 1;
        self.queue(id, self.latest, waiting);
    }

    fn join(&mut self, name: &str) -> usize {
        let name: Box<str> = name.into();
        let id = self.tenants.insert(Tenant { name: name.clone(), clock: self.now, asks: VecDeque::new(), parked: 0 });
        self.by_name.insert(name, id);
        id
    }

    /// A tenant that asks for nothing any more is remembered for its clock. Of too many the one goes that is furthest
    /// back. It would come back as a newcomer: so these begin where it stood, and nobody gains by being forgotten, nor
    /// can ever new tenants keep those waiting for ever that were given something once.
    fn rest(&mut self, id: usize) {
        let tenant = &self.tenants[id];
        if !tenant.is_idle() {
            return;
        }
        self.idle.insert((tenant.clock, id));
        if self.idle.len() > IDLE_MAX
            && let Some((clock, furthest)) = self.idle.pop_first()
        {
            self.now = self.now.max(clock);
            let gone = self.tenants.remove(furthest);
            self.by_name.remove(&gone.name);
        }
    }

    fn queue(&mut self, id: usize, number: u64, waiting: Waiting) {
        let tenant = &mut self.tenants[id];
        tenant.asks.push_back((number, waiting));
        if tenant.asks.len() == 1 {
            tenant.clock = tenant.clock.max(self.now);
            self.order.insert((tenant.clock, number, id));
        }
    }

    /// The ask whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<&Waiting> {
        let (.., id) = self.order.first()?;
        self.tenants[*id].asks.front().map(|(_, waiting)| waiting)
    }

    fn pop(&mut self) -> Option<(usize, u64, Waiting)> {
        let (clock, _, id) = self.order.pop_first()?;
        self.now = self.now.max(clock);
        let (number, waiting) = self.tenants[id].asks.pop_front()?;
        Some((id, number, waiting))
    }

    fn next_of(&mut self, id: usize) {
        let tenant = &self.tenants[id];
        match tenant.asks.front() {
            Some((number, _)) => {
                self.order.insert((tenant.clock, *number, id));
            }
            None => self.rest(id),
        }
    }

    /// The first was given so many messages; its tenant weighs `weight` (at least 1).
    /// Returns when it asked.
    pub fn granted(&mut self, messages: u32, weight: u32) -> Option<Instant> {
        let (id, _, (asked, _)) = self.pop()?;
        self.len -= 1;
        self.tenants[id].clock += (u64::from(messages.max(1)) * MESSAGE / u64::from(weight.max(1))).max(1);
        self.next_of(id);
        Some(asked)
    }

    /// The first must wait for limits of its own until then; others pass.
    pub fn park(&mut self, until: Instant) {
        let Some((tenant, number, waiting)) = self.pop() else { return };
        self.tenants[tenant].parked += 1;
        self.parked.push(Reverse(Parked { until, number, tenant, waiting }));
        self.next_of(tenant);
    }

    /// Lets those back whose time has come.
    pub fn unpark(&mut self, now: Instant) {
        while self.parked.peek().is_some_and(|Reverse(parked)| parked.until <= now) {
            let Some(Reverse(Parked { number, tenant, waiting, .. })) = self.parked.pop() else { return };
            self.tenants[tenant].parked -= 1;
            self.queue(tenant, number, waiting);
        }
    }

    /// Lets all back: what they wait for may have come early.
    pub fn unpark_all(&mut self) {
        while let Some(Reverse(Parked { number, tenant, waiting, .. })) = self.parked.pop() {
            self.tenants[tenant].parked -= 1;
            self.queue(tenant, number, waiting);
        }
    }

    /// When the next parked one may come back.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.parked.peek().map(|Reverse(parked)| parked.until)
    }

    /// Takes everybody out.
    pub fn clear(&mut self) -> Vec<Waiting> {
        self.unpark_all();
        let mut all = Vec::with_capacity(std::mem::take(&mut self.len));
        for (.., id) in std::mem::take(&mut self.order) {
            all.extend(self.tenants[id].asks.drain(..).map(|(_, waiting)| waiting));
            self.rest(id);
        }
        all
    }
}
