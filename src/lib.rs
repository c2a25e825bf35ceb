//! peakpost takes send jobs from Kafka and hands each to an email, SMS, push or webhook provider: as fast as the
//! provider allows, never faster; never twice by its own fault; and it loses nothing.
//!
//! ```text
//!  Kafka jobs.<lane> ─▶ intake ─▶ lane ─▶ dispatch ───────────────────────▶ settle ─▶ Kafka outcomes, delay, hold, dead
//!         delay, hold ─▶ ▲                │ policy   may it go to this person?   │
//!                        │                │ route    who carries it?             │
//!                        │                │ gate     may I send n now? (permit)  │
//!                        │                │ provider encode ═▶ vendor ═▶ decode  │
//!                        │                │ retry    again, or give up?          │
//!                     ledger ◀──────────────── receipts (values, not calls) ◀────┘
//! ```
//!
//! A job crosses these rooms from left to right; calls go forward, only values come back. Imports go one way,
//! in the order below; a test (`tests/tidy.rs`) holds them to it.
//!
//! | room | one sentence |
//! |---|---|
//! | `job/` | What we were asked to send: the contract, ids, lane, channel, receipt. |
//! | `outcome/` | What an attempt said (verdict), what became of a job (outcome), closed reason codes. |
//! | `event` | What a vendor says of a message later, and the echo by which it names the message. |
//! | `observe/` | Metric catalogue, the wide line per attempt, logs, the clock. |
//! | `control` | What instances tell each other: orders, each with its author, its reason and its end. |
//! | `ledger/` | One home's obligations: what is in flight, what may be committed; who owns what until when. |
//! | `lane/` | Queues per provider, flow and lane, grouped by what may share a request. |
//! | `policy/` | May this message go to this person now? |
//! | `route` | Which providers may carry it, the preferred one first. |
//! | `gate/` | May I send n to this provider now? Limits, concurrency, stops, who waits. |
//! | `retry/` | After this verdict: again when, or give up why; and whether its provider can bear it. |
//! | `reputation/` | Whose mail is complained of, and what follows: sums, bounds, verdicts. |
//! | `recipient/` | What is known of a recipient: who must not be written to. |
//! | `provider/` | Per vendor, pure: `encode`, `decode`; in `webhook/`, `sendgrid/`, `twilio/`. `wire/` moves the bytes. |
//! | `settle/` | Makes outcomes durable, then returns the receipt. |
//! | `intake/` | Owns homes: membership, reading, lease, commits; makes jobs with receipts. |
//! | `dispatch/` | The only room that knows the order: shard → batch → attempt → settle. |
//! | `feedback/` | What vendors say later: a public listener that answers once every event is durable; counted once in the fleet by `workers/`, added up in every instance (`sums/`). |
//! | `console/` | The ops listener. |
//! | `config/` | Defaults ◁ file ◁ environment, turned into each room's own `Config`. |
//! | `app` | Builds the rooms back to front and drains them in flow order. |
//! | `sim/` | What stands in for the world: embedded broker, `vendor/` simulator (with its own `sendgrid/`), `load/` generator, `demo/`. |
//! | `cli/` | Arguments, progress, exit codes; `dead/` and `suppress/` have several commands each. |
//!
//! Words: a **home** is partition p of every topic of the line, owned as a whole by one instance. A **receipt**
//! is the obligation that travels with a job, settled exactly once or abandoned by name. A **permit** is leave
//! to send, which only a gate makes. **Accepted** (the provider took it) is not **delivered**.
//!
//! Where to start: a new provider is one folder under `provider/`, one arm in `provider/mod.rs`, one folder of
//! golden tests. A new drop rule is one file in `policy/` and one reason. A new metric is one line in
//! `observe/metrics.rs`. Another queue than Kafka is `intake/` and `settle/`.
#![warn(clippy::exit, clippy::expect_used, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod control;
pub mod dispatch;
pub mod event;
pub mod feedback;
pub mod gate;
pub mod intake;
pub mod job;
pub mod lane;
pub mod ledger;
pub mod observe;
pub mod outcome;
pub mod policy;
pub mod provider;
pub mod recipient;
pub mod reputation;
pub mod retry;
pub mod route;
pub mod settle;
pub mod sim;
