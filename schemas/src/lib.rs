//! All that crosses a process boundary: reviews, verdicts, dead letters, feedback, topics and headers.
