//! ADWIN: a window over a series that is as long as its mean holds, and drops its past when it no longer does.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::number::{count, real};

/// Most rows of buckets; the last would hold values of 2^40 updates.
const ROWS_MAX: usize = 40;

/// How soon and how surely a change is seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdwinSettings {
    /// Bound on the probability of a false alarm, above 0 and below 1.
    pub delta: f64,
    /// Looks for a change once in so many values.
    pub clock: u64,
    /// Buckets of one size before the two oldest become one of the next: more of them find a change more exactly.
    pub buckets_max: usize,
    /// No part of the window is compared with another before it holds more than so many values.
    pub part_min: u64,
    /// No change is looked for before there are more than so many values.
    pub grace: u64,
}

impl Default for AdwinSettings {
    /// Those of the river library.
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, buckets_max: 5, part_min: 5, grace: 10 }
    }
}

/// Adaptive windowing (Bifet & Gavalda 2007, Learning from Time-Changing Data with Adaptive Windowing, ADWIN2 of section 4).
///
/// The window is cut where its two parts of `n0` and `n1` values differ in mean by more than
/// `sqrt(2 / m s^2 ln(2 ln W / delta)) + 2 / (3 m) ln(2 ln W / delta)` with `1/m = 1/n0 + 1/n1` and the window's variance
/// `s^2` (section 3, the bound by normal approximation; each `n` less the smallest part plus one, as in river). Memory is
/// `O(buckets_max log W)`. A cut drops the oldest bucket, as often as one is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    settings: AdwinSettings,
    /// Row i holds buckets of 2^i values, oldest first; row 0 is the newest.
    rows: Vec<VecDeque<Bucket>>,
    /// Of all buckets together.
    window: Part,
    /// Values seen, dropped ones included.
    seen: u64,
}

/// A number of values by their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    size: f64,
    total: f64,
    /// Sum of squared deviations from the mean.
    deviations: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    deviations: f64,
}

impl Adwin {
    /// An empty window.
    pub fn new(settings: AdwinSettings) -> Self {
        Self { settings, rows: Vec::new(), window: Part::default(), seen: 0 }
    }

    /// Adds a value and says whether the mean has changed. What is not finite is left out.
    pub fn update(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        self.window.add(Part { size: 1.0, total: value, deviations: 0.0 });
        self.push(0, Bucket { total: value, deviations: 0.0 });
        self.compress();
        self.seen += 1;
        let is_time = self.seen.is_multiple_of(self.settings.clock.max(1));
        is_time && real(self.settings.grace) < self.window.size && self.shrink()
    }

    /// Values in the window.
    pub fn width(&self) -> u64 {
        let sizes = self.rows.iter().enumerate().map(|(index, row)| count(row.len()) * size(index));
        sizes.sum()
    }

    /// Mean of the window; 0 of an empty one.
    pub fn mean(&self) -> f64 {
        if 0.0 < self.window.size { self.window.mean() } else { 0.0 }
    }

    /// Variance of the window, over its size; 0 of an empty one.
    pub fn variance(&self) -> f64 {
        if 0.0 < self.window.size { self.window.deviations / self.window.size } else { 0.0 }
    }

    /// Buckets in memory.
    pub fn buckets(&self) -> usize {
        self.rows.iter().map(VecDeque::len).sum()
    }

    fn push(&mut self, index: usize, bucket: Bucket) {
        if self.rows.len() <= index {
            self.rows.resize(index + 1, VecDeque::new());
        }
        if let Some(row) = self.rows.get_mut(index) {
            row.push_back(bucket);
        }
    }

    /// Two of the oldest buckets of a full row become one of the next.
    fn compress(&mut self) {
        for index in 0..ROWS_MAX {
            let buckets_max = self.settings.buckets_max;
            let full = self.rows.get_mut(index).filter(|row| buckets_max < row.len());
            let two = full.and_then(|row| row.pop_front().zip(row.pop_front()));
            let Some((first, second)) = two else { break };
            let mut merged = first.part(index);
            merged.add(second.part(index));
            let bucket = Bucket { total: merged.total, deviations: merged.deviations };
            self.push(index + 1, bucket);
        }
    }

    /// Drops the oldest bucket as long as some cut of the window shows two means.
    fn shrink(&mut self) -> bool {
        let mut has_changed = false;
        while self.has_cut() && self.drop_oldest() {
            has_changed = true;
        }
        has_changed
    }

    fn has_cut(&self) -> bool {
        let mut old = Part::default();
        let mut recent = self.window;
        let rows = self.rows.iter().enumerate().rev();
        for part in rows.flat_map(|(index, row)| row.iter().map(move |one| one.part(index))) {
            old.add(part);
            recent.remove(part);
            if self.differ(old, recent) {
                return true;
            }
        }
        false
    }

    fn differ(&self, old: Part, recent: Part) -> bool {
        let part_min = real(self.settings.part_min);
        if !(part_min < old.size && part_min < recent.size) {
            return false;
        }
        let confidence = (2.0 * self.window.size.ln() / self.settings.delta).ln();
        let weight = |part: Part| 1.0 / (part.size - part_min + 1.0);
        let harmonic = weight(old) + weight(recent);
        let bound = (2.0 * harmonic * self.variance() * confidence).sqrt()
            + 2.0 / 3.0 * confidence * harmonic;
        bound < (old.mean() - recent.mean()).abs()
    }

    fn drop_oldest(&mut self) -> bool {
        while self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
        let index = self.rows.len().saturating_sub(1);
        let Some(oldest) = self.rows.last_mut().and_then(VecDeque::pop_front) else { return false };
        self.window.remove(oldest.part(index));
        true
    }
}

/// Values in a bucket of a row.
fn size(row: usize) -> u64 {
    1 << row.min(ROWS_MAX)
}

impl Bucket {
    fn part(self, row: usize) -> Part {
        Part { size: real(size(row)), total: self.total, deviations: self.deviations }
    }
}

impl Part {
    fn mean(self) -> f64 {
        self.total / self.size
    }

    /// Deviations of two parts about their common mean (Chan, Golub & `LeVeque` 1983, Algorithms for Computing the Sample
    /// Variance, eq. 2.1).
    fn add(&mut self, other: Self) {
        if 0.0 < self.size {
            self.deviations += Self::between(*self, other);
        }
        self.deviations += other.deviations;
        self.size += other.size;
        self.total += other.total;
    }

    fn remove(&mut self, other: Self) {
        self.size -= other.size;
        self.total -= other.total;
        self.deviations -= other.deviations;
        if 0.0 < self.size {
            self.deviations -= Self::between(*self, other);
        }
        // Rounding may leave a hair below zero.
        self.deviations = self.deviations.max(0.0);
    }

    fn between(one: Self, other: Self) -> f64 {
        let difference = one.mean() - other.mean();
        one.size * other.size * difference * difference / (one.size + other.size)
    }
}
