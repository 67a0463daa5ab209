//! Where verdicts are kept and found again.
