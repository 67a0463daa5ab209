//! The HTTP interface as its clients see it, on a line in memory.

#![expect(clippy::unwrap_used, reason = "a test")]

mod ask;
mod bad_input;
mod batch;
mod feedback;
mod line;
mod listing;
mod operations;
mod page;
mod reading;
mod reuse;
mod stopping;
mod waiting;
