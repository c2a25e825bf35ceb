//! Dead letters: what is selected, what can be redriven and as what, and the three commands on librdkafka's mock
//! cluster.
//!
//! Why: a redrive is done at night, in a hurry, and sends real messages; what it leaves out or sends twice is noticed
//! by recipients.
//! Must not know: how letters come about.

#![expect(clippy::disallowed_methods, reason = "the tests' clock is the world's, not the line's; polling sleeps")]

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;

#[path = "dead/commands.rs"]
mod commands;
#[path = "dead/letters.rs"]
mod letters;
