//! HTTP in, reviews out, answers back.
