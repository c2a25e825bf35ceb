//! What stands in for the world in tests, demos and rehearsals: vendors, and the services that ask for sends.
//!
//! Why: a dispatcher is judged by what arrives at the vendor, so the vendor here keeps its own log of arrivals,
//! and the generator says beforehand what must become of each job.
//! Must not know: anything but the library's public API. No other room imports this one.
#![expect(clippy::disallowed_methods, reason = "the simulated world has a clock of its own, not the line's")]

pub mod arrivals;
pub mod broker;
pub mod demo;
pub mod load;
pub mod vendor;
