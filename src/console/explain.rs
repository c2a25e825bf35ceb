//! `/explain`: what a provider's gate says of itself, and what waits for it.
//!
//! Why: "why is it slow" gets one answer, for people and for tools, and asking costs a gate one message.
//! Must not know: how a limit is kept, how the answer is worded.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::View;
use crate::dispatch::GateHandle;
use crate::gate::report::Report;

/// A gate's report, and what waits for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// What the gate says.
    #[serde(flatten)]
    pub report: Report,
    /// Jobs queued for the provider in this instance's memory, by lane. What is still in Kafka is not in it.
    pub backlog: BTreeMap<String, u64>,
    /// Seconds until they are gone at the pace of the last seconds. `None`: nothing goes.
    pub done_in_s: Option<f64>,
}

impl Explained {
    /// Adds what waits to what the gate says.
    #[must_use]
    pub fn new(report: Report, backlog: BTreeMap<String, u64>) -> Self {
        let jobs = backlog.values().sum::<u64>() as f64;
        let done_in_s = match report.granted_per_s {
            _ if jobs == 0.0 => Some(0.0),
            pace if pace > 0.0 => Some(jobs / pace),
            _ => None,
        };
        Self { report, backlog, done_in_s }
    }
}

/// What is asked.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Of this provider; of every one if it is not said.
    provider: Option<String>,
}

/// One provider's as an object, all as a list.
pub(super) async fn explain(State(view): State<Arc<View>>, Query(asked): Query<Asked>) -> Response {
    let said = match asked.provider {
        Some(name) => match view.gates.iter().find(|gate| gate.provider() == name) {
            Some(gate) => one(&view, gate).await.map(|explained| serde_json::to_vec(&explained)),
            None => return (StatusCode::NOT_FOUND, unknown(&name, &view.gates)).into_response(),
        },
        None => all(&view).await.map(|explained| serde_json::to_vec(&explained)),
    };
    match said {
        Some(Ok(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Some(Err(e)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response(),
    }
}

/// `None`: the gate has ended.
async fn one(view: &View, gate: &GateHandle) -> Option<Explained> {
    let report = gate.report().await?;
    Some(Explained::new(report, view.metrics.backlog(gate.provider())))
}

async fn all(view: &View) -> Option<Vec<Explained>> {
    let mut out = Vec::with_capacity(view.gates.len());
    for gate in &view.gates {
        out.push(one(view, gate).await?);
    }
    Some(out)
}

fn unknown(name: &str, gates: &[GateHandle]) -> String {
    let names: Vec<&str> = gates.iter().map(GateHandle::provider).collect();
    format!("no provider is called `{name}`; hint: it is one of {}\n", names.join(", "))
}
