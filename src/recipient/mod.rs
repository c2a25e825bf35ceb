//! What is known of a recipient: who must not be written to.
//!
//! Why: an address is looked up for every message, and must not lie about in topics and logs; so it is known here by a
//! keyed hash alone.
//! Must not know: what a message says, when it goes, providers.

pub mod address;
pub mod mailbox;
