//! Reviews in, verdicts out.
