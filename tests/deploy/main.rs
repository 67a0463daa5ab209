//! What is deployed, held to the code: every path, port, user and variable in it is one that the programs know.
//!
//! # Layout
//! - `dockerfile`: the stages of the Dockerfile; `programs`: what our programs say to settings and commands
//! - `images`: the Dockerfile and the settings that the images have; `compose`: the stack of compose.yaml

#![expect(clippy::unwrap_used, reason = "a test")]

mod compose;
mod dockerfile;
mod images;
mod kubernetes;
mod programs;
