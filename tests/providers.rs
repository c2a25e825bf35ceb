//! What each vendor is told and what its replies mean, held against files; what may be connected to, and what
//! the wire says of each way in which a vendor can fail.
//!
//! Why: these folders are the only place where a vendor's words are known, so every documented reply stands in
//! `tests/data/providers/<vendor>/replies.toml` with its verdict, and every kind of request beside it.

mod providers {
    mod accounts;
    mod feedback;
    mod forged;
    mod guard;
    mod odd;
    mod properties;
    mod replies;
    mod requests;
    mod signers;
    mod support;
    mod throttle;
    mod wire;
    mod written;
}
