//! Charts as inline SVG. Colours are classes, so that the page's two schemes hold for them; what a chart shows is in its title as
//! well, for those who listen.

use std::fmt::Write as _;

use drift::{picture::Bar, statistics::accuracy::Estimate};

use super::page::escape;

/// Width of all charts, in units of the view box.
const WIDTH: f64 = 640.0;
/// Height of a chart over windows.
const HEIGHT: f64 = 180.0;
/// Room on the left for figures, on the right, above and below.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Height of one category's two bars.
const ROW: f64 = 34.0;
/// Room for names of categories.
const NAMES: f64 = 150.0;
/// Room for figures beside a bar.
const FIGURES: f64 = 60.0;
/// Most categories that are drawn: of languages there may be more.
const BARS_MAX: usize = 14;

/// A window of a series.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// When it begins.
    pub(super) at: String,
    pub(super) score: f64,
    pub(super) threshold: f64,
    pub(super) drifted: bool,
}

/// The accuracy of a window.
#[derive(Clone, Debug)]
pub(super) struct AccuracyPoint {
    /// When it begins.
    pub(super) at: String,
    pub(super) estimated: Option<Estimate>,
    pub(super) realised: Option<Estimate>,
}

/// Reference and period side by side, a pair of bars a category.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let mut shown: Vec<&Bar> =
        bars.iter().filter(|bar| 0.0 < bar.reference + bar.observed).collect();
    if BARS_MAX < shown.len() {
        shown.sort_by(|one, other| largest(other).total_cmp(&largest(one)));
        shown.truncate(BARS_MAX);
    }
    let most = shown.iter().map(|bar| largest(bar)).fold(f64::MIN_POSITIVE, f64::max);
    let told = shown.iter().map(|bar| {
        let Bar { name, reference, observed } = bar;
        format!("{name}: reference {}, period {}", percent(*reference), percent(*observed))
    });
    let told = format!("{title}. {}", told.collect::<Vec<_>>().join("; "));
    let height = ROW * real(shown.len()) + 4.0;
    let mut svg = open(&told, height);
    for (row, bar) in shown.iter().enumerate() {
        let y = ROW * real(row) + 2.0;
        text(&mut svg, "name", (NAMES - 10.0, y + 20.0), "end", &bar.name);
        for (class, share, y) in
            [("reference", bar.reference, y + 3.0), ("period", bar.observed, y + 16.0)]
        {
            let width = (WIDTH - NAMES - FIGURES) * share / most;
            write(
                &mut svg,
                format_args!(
                    "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"11\" rx=\"2\"/>",
                    width.max(1.0)
                ),
            );
            text(
                &mut svg,
                "figure",
                (NAMES + width.max(1.0) + 6.0, y + 9.5),
                "start",
                &percent(share),
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Scores over windows, on a logarithmic scale, with the threshold that each is held against.
pub(super) fn series(title: &str, points: &[Point]) -> String {
    let drifted = points.iter().filter(|point| point.drifted).count();
    let told = format!("{title}. {drifted} of {} windows drifted", points.len());
    let mut svg = open(&told, HEIGHT);
    let values = points.iter().flat_map(|point| [point.score, point.threshold]);
    let (floor, ceiling) = values
        .clone()
        .filter(|value| 0.0 < *value)
        .fold((f64::INFINITY, f64::MIN_POSITIVE), |(least, most), value| {
            (least.min(value), most.max(value))
        });
    // Three decades below the highest are enough: what lies lower is nothing.
    let floor = floor.max(ceiling / 1_000.0).min(ceiling / 2.0);
    let scale = Scale { from: floor.ln() - 0.15, to: ceiling.ln() + 0.15 };
    let y = |value: f64| scale.y(value.max(floor).ln());
    for tick in decades(floor, ceiling) {
        grid(&mut svg, y(tick), &figure(tick));
    }
    ends(&mut svg, points.first().map(|it| it.at.as_str()), points.last().map(|it| it.at.as_str()));
    let x = |index: usize| place(index, points.len());
    let indexed = || points.iter().enumerate();
    line(&mut svg, "threshold", indexed().map(|(index, point)| (x(index), y(point.threshold))));
    line(&mut svg, "score", indexed().map(|(index, point)| (x(index), y(point.score))));
    for (index, point) in indexed() {
        let class = if point.drifted { "drifted" } else { "clean" };
        let said = format!(
            "{}: score {}, threshold {}{}",
            point.at,
            figure(point.score),
            figure(point.threshold),
            if point.drifted { ", drifted" } else { "" }
        );
        dot(&mut svg, class, (x(index), y(point.score)), &said);
    }
    svg.push_str("</svg>");
    svg
}

/// Estimated accuracy with a band of two standard errors, and realised accuracy where there are labels.
pub(super) fn accuracy(title: &str, points: &[AccuracyPoint]) -> String {
    let mut svg = open(title, HEIGHT);
    let around = |estimate: &Estimate| {
        let reach = 2.0 * estimate.standard_error;
        [(estimate.value - reach).max(0.0), (estimate.value + reach).min(1.0)]
    };
    let estimates = points.iter().flat_map(|point| point.estimated.iter().chain(&point.realised));
    let (least, most) = estimates
        .flat_map(around)
        .fold((1.0_f64, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if most < least {
        return String::new();
    }
    let scale = Scale { from: (least - 0.02).max(0.0), to: (most + 0.02).min(1.0) };
    for tick in 0..=4 {
        let value = scale.from + (scale.to - scale.from) * f64::from(tick) / 4.0;
        grid(&mut svg, scale.y(value), &percent(value));
    }
    ends(&mut svg, points.first().map(|it| it.at.as_str()), points.last().map(|it| it.at.as_str()));
    let x = |index: usize| place(index, points.len());
    let estimated: Vec<_> = points
        .iter()
        .enumerate()
        .filter_map(|(index, point)| Some((x(index), point.estimated?)))
        .collect();
    let upper = estimated.iter().map(|(x, it)| (*x, scale.y(around(it)[1])));
    let lower = estimated.iter().rev().map(|(x, it)| (*x, scale.y(around(it)[0])));
    let band: Vec<_> = upper.chain(lower).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    write(&mut svg, format_args!("<polygon class=\"band\" points=\"{}\"/>", band.join(" ")));
    line(&mut svg, "estimated", estimated.iter().map(|(x, it)| (*x, scale.y(it.value))));
    for (index, point) in points.iter().enumerate() {
        if let Some(it) = point.realised {
            let (x, [low, high]) = (x(index), around(&it));
            write(
                &mut svg,
                format_args!(
                    "<line class=\"realised\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                    scale.y(low),
                    scale.y(high)
                ),
            );
            let said = format!("{}: realised {}", point.at, percent(it.value));
            dot(&mut svg, "realised", (x, scale.y(it.value)), &said);
        }
    }
    svg.push_str("</svg>");
    svg
}

/// From values to heights.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from).max(f64::MIN_POSITIVE);
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
    }
}

fn largest(bar: &Bar) -> f64 {
    bar.reference.max(bar.observed)
}

fn place(index: usize, count: usize) -> f64 {
    let share = if count < 2 { 0.5 } else { real(index) / real(count - 1) };
    LEFT + 8.0 + (WIDTH - LEFT - RIGHT - 16.0) * share
}

fn decades(floor: f64, ceiling: f64) -> Vec<f64> {
    let exponents = floor.log10().floor()..=ceiling.log10().ceil();
    let mut ticks = Vec::new();
    let mut exponent = *exponents.start();
    while exponent <= *exponents.end() {
        ticks.push(10_f64.powf(exponent));
        exponent += 1.0;
    }
    let within: Vec<f64> =
        ticks.into_iter().filter(|tick| (floor..=ceiling).contains(tick)).collect();
    if within.is_empty() { vec![floor, ceiling] } else { within }
}

fn open(told: &str, height: f64) -> String {
    let told = escape(told);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{told}\"><title>{told}</title>"
    )
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = escape(words);
    write(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ),
    );
}

fn grid(svg: &mut String, y: f64, words: &str) {
    write(
        svg,
        format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            WIDTH - RIGHT
        ),
    );
    text(svg, "figure", (LEFT - 8.0, y + 4.0), "end", words);
}

fn ends(svg: &mut String, first: Option<&str>, last: Option<&str>) {
    let y = HEIGHT - 6.0;
    if let Some(first) = first {
        text(svg, "figure", (LEFT, y), "start", first);
    }
    if let Some(last) = last.filter(|last| Some(*last) != first) {
        text(svg, "figure", (WIDTH - RIGHT, y), "end", last);
    }
}

fn line(svg: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>) {
    let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    write(svg, format_args!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
}

fn dot(svg: &mut String, class: &str, (x, y): (f64, f64), said: &str) {
    let said = escape(said);
    write(
        svg,
        format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{said}</title></circle>"
        ),
    );
}

/// Writing into a string cannot fail.
pub(super) fn write(into: &mut String, what: std::fmt::Arguments<'_>) {
    into.write_fmt(what).ok();
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A score, as exact as it is worth reading.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        // The ticks of a scale, mostly.
        size if 1.0 <= size && value.fract().abs() < 1e-9 => format!("{value:.0}"),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        _large => format!("{value:.0}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
fn real(count: usize) -> f64 {
    count as f64
}
