//! Who waits in one lane, and whose turn it is: fair by weight among tenants, then by arrival.
//!
//! Why: one queue in the order of arrival belongs to whoever asks most. Each tenant has a clock of its own that
//! runs by what it was given, slower the more it weighs; the tenant whose clock is furthest back goes next. One that
//! was away does not come back with credit: its clock is set to the present one (start-time fair queueing,
//! Goyal, Vin and Cheng, 1996).
//! Must not know: limits, slots, why somebody must wait.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use slab::Slab;

use super::Ask;

/// How far a clock runs for one message at weight 1.
const MESSAGE: u64 = 1 << 20;
/// Tenants that ask for nothing now are forgotten when there are more of them.
const IDLE_MAX: usize = 1024;

/// An ask, and when it came.
pub(super) type Waiting = (Instant, Ask);

/// One lane's asks.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tenants: Slab<Tenant>,
    by_name: HashMap<Box<str>, usize>,
    /// Tenants somebody of whom may go: clock, number of the first ask, tenant.
    order: BTreeSet<(u64, u64, usize)>,
    /// Asks that their own limits keep until a time; by number, so that equal times keep their order.
    parked: BinaryHeap<Reverse<Parked>>,
    /// The clock of whoever went last.
    now: u64,
    asks: u64,
}

#[derive(Debug)]
struct Tenant {
    name: Box<str>,
    clock: u64,
    asks: VecDeque<(u64, Waiting)>,
    parked: usize,
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
    pub(super) fn is_idle(&self) -> bool {
        self.order.is_empty()
    }

    /// Asks that wait, parked ones too.
    pub(super) fn len(&self) -> usize {
        self.tenants.iter().map(|(_, tenant)| tenant.asks.len() + tenant.parked).sum()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let id = match self.by_name.get(&*waiting.1.flow.tenant) {
            Some(id) => *id,
            None => self.join(&waiting.1.flow.tenant),
        };
        self.asks += 1;
        self.queue(id, self.asks, waiting);
    }

    fn join(&mut self, name: &str) -> usize {
        if self.tenants.len() > IDLE_MAX + self.order.len() {
            self.forget_idle();
        }
        let name: Box<str> = name.into();
        let id = self.tenants.insert(Tenant { name: name.clone(), clock: self.now, asks: VecDeque::new(), parked: 0 });
        self.by_name.insert(name, id);
        id
    }

    fn forget_idle(&mut self) {
        let (by_name, now) = (&mut self.by_name, self.now);
        self.tenants.retain(|_, tenant| {
            let stays = !tenant.asks.is_empty() || tenant.parked > 0 || tenant.clock > now;
            if !stays {
                by_name.remove(&tenant.name);
            }
            stays
        });
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
    pub(super) fn first(&self) -> Option<&Waiting> {
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
        if let Some((number, _)) = tenant.asks.front() {
            self.order.insert((tenant.clock, *number, id));
        }
    }

    /// The first was given so many messages; its tenant weighs `weight` (at least 1).
    /// Returns when it asked.
    pub(super) fn granted(&mut self, messages: u32, weight: u32) -> Option<Instant> {
        let (id, _, (asked, _)) = self.pop()?;
        self.tenants[id].clock += (u64::from(messages.max(1)) * MESSAGE / u64::from(weight.max(1))).max(1);
        self.next_of(id);
        Some(asked)
    }

    /// The first must wait for limits of its own until then; others pass.
    pub(super) fn park(&mut self, until: Instant) {
        let Some((tenant, number, waiting)) = self.pop() else { return };
        self.tenants[tenant].parked += 1;
        self.parked.push(Reverse(Parked { until, number, tenant, waiting }));
        self.next_of(tenant);
    }

    /// Lets those back whose time has come.
    pub(super) fn unpark(&mut self, now: Instant) {
        while self.parked.peek().is_some_and(|Reverse(parked)| parked.until <= now) {
            let Some(Reverse(Parked { number, tenant, waiting, .. })) = self.parked.pop() else { return };
            self.tenants[tenant].parked -= 1;
            self.queue(tenant, number, waiting);
        }
    }

    /// Lets all back: what they wait for may have come early.
    pub(super) fn unpark_all(&mut self) {
        while let Some(Reverse(Parked { number, tenant, waiting, .. })) = self.parked.pop() {
            self.tenants[tenant].parked -= 1;
            self.queue(tenant, number, waiting);
        }
    }

    /// When the next parked one may come back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.parked.peek().map(|Reverse(parked)| parked.until)
    }

    /// Takes everybody out.
    pub(super) fn clear(&mut self) -> Vec<Waiting> {
        let parked = std::mem::take(&mut self.parked).into_sorted_vec().into_iter().rev();
        let mut all: Vec<Waiting> = parked.map(|Reverse(parked)| parked.waiting).collect();
        self.order.clear();
        for (_, tenant) in &mut self.tenants {
            all.extend(tenant.asks.drain(..).map(|(_, waiting)| waiting));
            tenant.parked = 0;
        }
        all
    }
}
