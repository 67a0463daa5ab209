//! What was measured: a line of JSON for each run of each point, and what the runs of a point come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    mem,
    path::Path,
    thread,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One run of one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Which measurement: `growth`, `memory`, `start` or `sweep`.
    pub(crate) experiment: String,
    /// What was varied.
    pub(crate) varied: String,
    /// What it was set to.
    pub(crate) value: String,
    /// Which run of this point, from 1.
    pub(crate) turn: usize,
    /// What came out; each name ends with its unit.
    pub(crate) figures: BTreeMap<String, f64>,
    /// On what.
    pub(crate) machine: String,
}

/// Figures by name.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// A file of measurements that is being written: each is in it as soon as it is known.
pub(crate) struct Journal {
    file: File,
    machine: String,
}

/// All runs of all points of one varied thing, in the order in which they were first measured.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) experiment: String,
    pub(crate) varied: String,
    pub(crate) points: Vec<Point>,
}

/// All runs of one point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) value: String,
    pub(crate) figures: BTreeMap<String, Vec<f64>>,
}

/// What several runs come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) middle: f64,
    pub(crate) most: f64,
}

impl Journal {
    /// Begins the file anew.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { file, machine: machine() })
    }

    /// Writes one run down, and prints it.
    pub(crate) fn note(
        &mut self,
        experiment: &str,
        (varied, value): (&str, &str),
        turn: usize,
        figures: &Figures,
    ) -> anyhow::Result<()> {
        let measured = Measured {
            experiment: experiment.to_owned(),
            varied: varied.to_owned(),
            value: value.to_owned(),
            turn,
            // More digits than these say nothing.
            figures: figures
                .iter()
                .map(|(name, figure)| ((*name).to_owned(), (figure * 1e3).round() / 1e3))
                .collect(),
            machine: self.machine.clone(),
        };
        println!("{experiment} {varied} {value} turn {turn}: {:?}", measured.figures);
        writeln!(self.file, "{}", serde_json::to_string(&measured)?).context("writing a result")
    }

    /// Writes one run down, or says why there is none: one point that fails costs no other.
    pub(crate) fn note_or_tell(
        &mut self,
        experiment: &str,
        point: (&str, &str),
        turn: usize,
        figures: anyhow::Result<Figures>,
    ) -> anyhow::Result<()> {
        match figures {
            Ok(figures) => self.note(experiment, point, turn, &figures),
            Err(error) => {
                println!("{experiment} {} {} turn {turn}: left out: {error:#}", point.0, point.1);
                Ok(())
            }
        }
    }
}

impl Point {
    /// What the runs of the figure called `name` come to.
    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        let mut figures = self.figures.get(name)?.clone();
        figures.sort_by(f64::total_cmp);
        let half = figures.len() / 2;
        let upper = *figures.get(half)?;
        let lower = if figures.len() % 2 == 0 { *figures.get(half - 1)? } else { upper };
        let (least, most) = (*figures.first()?, *figures.last()?);
        Some(Spread { least, middle: f64::midpoint(lower, upper), most })
    }
}

/// Reads a file of measurements.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Panel>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut panels: Vec<Panel> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Measured { experiment, varied, value, figures, .. } = serde_json::from_str(line)
            .with_context(|| format!("{}, line {}", path.display(), number + 1))?;
        let panel = found_or_new(
            &mut panels,
            |it| it.experiment == experiment && it.varied == varied,
            || Panel { experiment: experiment.clone(), varied: varied.clone(), points: Vec::new() },
        );
        let new = || Point { value: value.clone(), figures: BTreeMap::new() };
        let point = found_or_new(&mut panel.points, |it| it.value == value, new);
        for (name, figure) in figures {
            point.figures.entry(name).or_default().push(figure);
        }
    }
    Ok(panels)
}

/// The one that `is_it`, or else a new one behind the others.
fn found_or_new<T>(
    all: &mut Vec<T>,
    is_it: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
) -> &mut T {
    let index = all.iter().position(is_it).unwrap_or(all.len());
    if index == all.len() {
        all.push(new());
    }
    &mut all[index]
}

/// A Markdown table for each experiment: the middle of the runs, and between what they lay.
pub(crate) fn print(panels: &[Panel]) {
    for panels in panels.chunk_by(|one, next| one.experiment == next.experiment) {
        let points = panels.iter().flat_map(|panel| &panel.points);
        let names: BTreeSet<&String> = points.flat_map(|point| point.figures.keys()).collect();
        let header: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
        println!("\n| | | {} |", header.join(" | "));
        println!("|---|---|{}", "---|".repeat(names.len()));
        for panel in panels {
            let mut name = format!("`{}`", panel.varied);
            for point in &panel.points {
                let told = |name: &&String| point.spread(name).map_or_else(String::new, told);
                let cells: Vec<String> = names.iter().map(told).collect();
                // The name stands beside the first of its values alone.
                println!("| {} | {} | {} |", mem::take(&mut name), point.value, cells.join(" | "));
            }
        }
    }
}

/// `middle (least to most)`, or only the one value that there is.
fn told(Spread { least, middle, most }: Spread) -> String {
    if least < most {
        format!("{} ({} to {})", figure(middle), figure(least), figure(most))
    } else {
        figure(middle)
    }
}

/// As exact as it is worth reading.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size.fract() < 1e-9 || 100.0 <= size => format!("{value:.0}"),
        size if 10.0 <= size => format!("{value:.1}"),
        _small => format!("{value:.2}"),
    }
}

/// What this runs on: processor, cores that this process may use, memory.
fn machine() -> String {
    let value = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let processor = value("/proc/cpuinfo", "model name");
    let kib = value("/proc/meminfo", "MemTotal")
        .and_then(|total| total.split_whitespace().next()?.parse::<f64>().ok());
    format!(
        "{}, {} cores, {:.0} GiB",
        processor.as_deref().unwrap_or(std::env::consts::ARCH),
        thread::available_parallelism().map_or(1, usize::from),
        kib.unwrap_or_default() / 1_048_576.0
    )
}
