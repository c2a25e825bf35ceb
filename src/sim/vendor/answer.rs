//! What a simulated vendor makes of a request, and the header reading that they share.
//!
//! Why: the vendors' rules stay pure, from bytes to an answer; `server` moves the bytes.
//! Must not know: any one vendor, the arrival log.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

/// An answer before it is HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// A request by the vendor's rules.
pub(super) struct Judged {
    /// `tenant/id` of each message; empty where the request does not say.
    pub(super) keys: Vec<Box<str>>,
    pub(super) answer: Answer,
    /// Whether the vendor would send it.
    pub(super) taken: bool,
}

impl Answer {
    /// 200 without a word.
    pub(super) fn empty() -> Self {
        Self { status: 200, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())], body: body.into() }
    }

    /// An answer in JSON. What cannot be written becomes 500: it would be a defect of this simulator.
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                Self { body: body.into(), ..Self::empty() }.status(status).with("content-type", "application/json")
            }
            Err(e) => Self::text(500, e.to_string()),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// A header's value, if it is there and is text.
pub(super) fn text<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    head.headers.get(name)?.to_str().ok()
}

/// The `Bearer` token.
pub(super) fn bearer(head: &Parts) -> Option<&str> {
    text(head, header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ")
}

/// The content type without its parameters.
pub(super) fn media_type(head: &Parts) -> Option<&str> {
    Some(text(head, header::CONTENT_TYPE.as_str())?.split(';').next()?.trim())
}
