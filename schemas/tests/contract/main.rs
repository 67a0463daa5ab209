//! The contract with everybody outside: golden records decode for ever, and the published JSON Schemas are the code's.

#![expect(clippy::unwrap_used, reason = "a test")]

mod golden;
mod published;
