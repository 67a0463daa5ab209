//! The whole line against the bare model, on one core.
