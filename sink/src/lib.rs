//! Verdicts in, rows out.
