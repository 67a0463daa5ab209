//! What the line survives: each fault that we can make, on real servers, with figures.
//!
//! Every proof has a short form, which any run of the tests includes, and a long one (`VERDICT_PROVE=long`); `dev/prove` runs
//! either by name. What must hold is asserted on counts alone. Times are printed and never asserted, but for limits that mean
//! that something is stuck.
//!
//! # Layout
//! - `proof`, `form`, `report`: what all proofs share, how long they are, what they print
//! - `servers`, `replica`: real servers, real binaries; `rows`: what a CQL server holds
//! - `feed`, `clients`, `stream`: reviews in over Kafka and over HTTP, verdicts out; `checker`: the truth
//! - one file a proof: `kills` (P1), `zombies` (P2), `bounces` (P3), `delays` (P4) with its `proxy`, `scaling` (P5), `replays`
//!   (P6), `intake` (P7), `poison` (P8), `outages` (P9), `soak` (P10), `late_rows` (P11),
//!   `drifting` (P12)
//! - `rollout`: what Kubernetes does to the line, with `front` in the place of its Service

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod bounces;
mod checker;
mod clients;
mod delays;
mod drifting;
mod feed;
mod form;
mod front;
mod intake;
mod kills;
mod late_rows;
mod outages;
mod poison;
mod proof;
mod proxy;
mod replays;
mod replica;
mod report;
mod rollout;
mod rows;
mod scaling;
mod servers;
mod soak;
mod stream;
mod zombies;
