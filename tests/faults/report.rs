//! One line of figures for each proof: for people on standard output, as JSON in a file where one is named.

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    checker::Counts,
    form::{Form, variable},
    proof::Proof,
    replica::Replica,
};

/// The figures of one proof, in the order in which they were added.
pub(crate) struct Report {
    figures: Vec<(String, Value)>,
}

impl Report {
    /// With the proof's name, its form and how long it took until now.
    pub(crate) fn of(proof: &Proof) -> Self {
        let form = match proof.form {
            Form::Short => "short",
            Form::Long => "long",
        };
        Self { figures: Vec::new() }
            .with("proof", proof.name)
            .with("form", form)
            .with("seconds", proof.begun.elapsed().as_secs())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.push((name.to_owned(), value.into()));
        self
    }

    /// Faults of one kind. None of them did harm, so that with 95 % confidence fewer than three in so many would.
    pub(crate) fn faults(self, name: &str, count: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let bound = (3.0 / count.max(1) as f64).min(1.0);
        self.with(name, count).with("rate_bound", rounded(bound, 4))
    }

    /// What the checker counted.
    pub(crate) fn counts(mut self, counts: &Counts) -> Self {
        self.figures.extend(counts.figures().map(|(name, count)| (name.to_owned(), json!(count))));
        self
    }

    /// Longest time in which no verdict came.
    pub(crate) fn stall(self, stall: Duration) -> Self {
        self.seconds("longest_stall_s", stall)
    }

    pub(crate) fn seconds(self, name: &str, duration: Duration) -> Self {
        self.with(name, rounded(duration.as_secs_f64(), 3))
    }

    /// Largest memory of a replica.
    pub(crate) fn memory(self, replicas: &mut [Replica]) -> Self {
        let peak = replicas.iter_mut().map(Replica::peak_rss).max().unwrap_or(0);
        self.with("peak_rss_mib", peak / (1024 * 1024))
    }

    /// How often replicas ended without being told to, and were started again.
    pub(crate) fn exits(self, replicas: &[Replica]) -> Self {
        self.with("own_exits", replicas.iter().map(|replica| replica.exits).sum::<usize>())
    }

    /// Prints the line, and appends it to the file that `VERDICT_PROVE_RECORD` names.
    pub(crate) fn print(self) {
        let mut line = String::new();
        for (name, value) in &self.figures {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            write!(line, "{}{name} {value}", if line.is_empty() { "" } else { ", " }).unwrap();
        }
        // Not `println!`: its output is shown only when a test fails, and these figures are for everybody.
        let mut out = std::io::stdout();
        writeln!(out, "{line}").unwrap();
        let Some(file) = variable("VERDICT_PROVE_RECORD").filter(|file| !file.is_empty()) else {
            return;
        };
        let record = Value::Object(Map::from_iter(self.figures));
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{record}").unwrap();
    }
}

pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}
