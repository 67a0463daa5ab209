//! k8s/ as it is rendered in k8s/rendered, held to the code, to our rules for pods, and the chart to the overlays.
//!
//! Neither kubectl nor helm is needed: `dev/prove k8s` renders anew with both, finds no difference, and has an API server take it.
//!
//! # Layout
//! - `manifests`: what is rendered, and what is asked of an object; `digest`: whether it was rendered from what is there
//! - `pods`: our rules for pods; `around`: accounts, budgets, network policies, services
//! - `told`: files and variables against the programs that read them; `scaling`: topics, groups, metrics and rules
//! - `chart`: the chart against the overlays; `refusals`: what the programs say of what is wrong, as processes

mod around;
mod chart;
mod digest;
mod manifests;
mod pods;
mod refusals;
mod scaling;
mod told;
