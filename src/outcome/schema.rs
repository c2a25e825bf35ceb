//! The outcome record as a JSON Schema, for whoever reads the outcomes topic.
//!
//! Why: readers decide by `reason`, and a closed list is only closed when they can see all of it.
//! Must not know: how an outcome is produced.

/// JSON Schema (draft 2020-12) of an outcome record, with every reason there is.
pub const OUTCOME: &str = include_str!("outcome.schema.json");
