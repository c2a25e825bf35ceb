//! The job contract as a JSON Schema, for upstream's editors, generators and producers' own tests.
//!
//! Why: a contract that only our parser knows is learned from dead letters. `tests/contract.rs` holds the two
//! to the same table, so the schema cannot drift from what is read.
//! Must not know: the parser; nothing here is used on the line.

/// JSON Schema (draft 2020-12) of a send job. It says all that a schema can say; limits in bytes, members given
/// twice and the case of reserved header names are the parser's alone.
pub const JOB: &str = include_str!("job.schema.json");
