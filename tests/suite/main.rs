//! The whole line from outside: the real program, real sockets, real files, foreign clients.
#![expect(clippy::unwrap_used, reason = "a test")]

mod apart;
mod bad_records;
mod checking;
mod collector;
mod command_line;
mod dead_letters;
mod drifting;
mod exactly_once;
mod feedback;
mod line;
mod loading;
mod references;
mod replaying;
mod seed;
mod setting_up;
mod telemetry;
