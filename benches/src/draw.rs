//! What was measured as SVG files, one a varied thing: the middle of the runs as a line or as bars, every run as a dot.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
};

use anyhow::Context as _;

use crate::measured::{Panel, figure};

/// Size of a picture.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
/// Room around what is drawn.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 52.0;
/// Blue and orange: told apart by most eyes (Okabe & Ito 2008).
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];
/// Share of a value's place that its bars take.
const BARS: f64 = 0.7;
/// Most ticks of the upright axis.
const TICKS_MAX: f64 = 6.0;

/// What of a measurement is drawn, and how.
struct Look {
    experiment: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Figures by name, and what they are called in the picture.
    series: &'static [(&'static str, &'static str)],
    are_bars: bool,
}

const LOOKS: [Look; 4] = [
    Look {
        experiment: "growth",
        title: "Reviews scored exactly once",
        unit: "reviews/s",
        series: &[("reviews_per_s", "reviews/s")],
        are_bars: false,
    },
    Look {
        experiment: "memory",
        title: "Memory",
        unit: "MB resident",
        series: &[("idle_mb", "idle"), ("saturated_mb", "saturated")],
        are_bars: true,
    },
    Look {
        experiment: "start",
        title: "From start to ready",
        unit: "seconds",
        series: &[("ready_s", "ready")],
        are_bars: true,
    },
    Look {
        experiment: "sweep",
        title: "Latency of POST /analyze",
        unit: "ms",
        series: &[("p50_ms", "p50"), ("p99_ms", "p99")],
        are_bars: false,
    },
];

/// What the varied things are called below their axes, where their names do not say it.
const NAMES: [(&str, &str); 4] = [
    ("cores", "cores of one processor"),
    ("replicas", "replicas of the processor, one core each"),
    ("partitions", "partitions of reviews.v1"),
    ("tokens", "tokens of each review"),
];

/// Writes a file for each panel into `folder`, and says which.
pub(crate) fn draw(panels: &[Panel], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for panel in panels {
        let look = LOOKS.iter().find(|look| look.experiment == panel.experiment);
        let look = look.with_context(|| format!("{}: how is it drawn?", panel.experiment))?;
        let is_plain = |character: char| character.is_ascii_alphanumeric();
        let varied = panel.varied.replace(|character: char| !is_plain(character), "-");
        let path = folder.join(format!("{}-{varied}.svg", panel.experiment));
        fs::write(&path, picture(panel, look))
            .with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn picture(panel: &Panel, look: &Look) -> String {
    let name = NAMES.iter().find(|(varied, _)| *varied == panel.varied);
    let name = name.map_or(panel.varied.as_str(), |(_, name)| name);
    let most = look
        .series
        .iter()
        .flat_map(|(series, _)| panel.points.iter().filter_map(|point| point.spread(series)))
        .fold(f64::MIN_POSITIVE, |most, spread| most.max(spread.most));
    let step = step(most);
    let ceiling = (most / step).ceil() * step;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / ceiling;
    let place = (WIDTH - LEFT - RIGHT) / real(panel.points.len().max(1));
    let x = |index: usize| LEFT + place * (real(index) + 0.5);

    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{} by {name}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
            look.title
        ),
    );
    text(
        &mut svg,
        (LEFT, 20.0),
        "start",
        &format!("<tspan font-weight=\"bold\">{}</tspan>", look.title),
    );
    text(&mut svg, (LEFT, 40.0), "start", look.unit);
    text(&mut svg, (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 12.0), "middle", name);
    let mut tick = 0.0;
    while tick <= ceiling + step / 2.0 {
        let (height, colour) = (y(tick), if tick == 0.0 { "#333" } else { "#ddd" });
        put(
            &mut svg,
            format_args!("<path d=\"M{LEFT} {height:.1}H{}\" stroke=\"{colour}\"/>", WIDTH - RIGHT),
        );
        text(&mut svg, (LEFT - 8.0, height + 4.0), "end", &figure(tick));
        tick += step;
    }
    for (index, point) in panel.points.iter().enumerate() {
        text(&mut svg, (x(index), HEIGHT - BOTTOM + 18.0), "middle", &point.value);
    }
    for (number, (series, called)) in look.series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        // Beside each other in the place of their value; lines are all in its middle.
        let width = BARS * place / real(look.series.len());
        let aside =
            if look.are_bars { width * (real(number) + 0.5) - BARS * place / 2.0 } else { 0.0 };
        let mut line = Vec::new();
        for (index, point) in panel.points.iter().enumerate() {
            let Some(spread) = point.spread(series) else { continue };
            let (centre, height) = (x(index) + aside, y(spread.middle));
            if look.are_bars {
                put(
                    &mut svg,
                    format_args!(
                        "<rect x=\"{:.1}\" y=\"{height:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" fill-opacity=\"0.6\"/>",
                        centre - width / 2.0,
                        width - 2.0,
                        y(0.0) - height
                    ),
                );
            }
            line.push(format!("{centre:.1},{height:.1}"));
            for run in point.figures.get(*series).into_iter().flatten() {
                put(
                    &mut svg,
                    format_args!(
                        "<circle cx=\"{centre:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                        y(*run)
                    ),
                );
            }
            text(&mut svg, (centre, y(spread.most) - 7.0), "middle", &figure(spread.middle));
        }
        if !look.are_bars {
            put(
                &mut svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    line.join(" ")
                ),
            );
        }
        if 1 < look.series.len() {
            let at = WIDTH - RIGHT - 90.0 * real(look.series.len() - number);
            put(
                &mut svg,
                format_args!("<circle cx=\"{at:.1}\" cy=\"36\" r=\"5\" fill=\"{colour}\"/>"),
            );
            text(&mut svg, (at + 10.0, 40.0), "start", called);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Between two ticks: 1, 2 or 5 times a power of ten, so that there are few of them.
fn step(most: f64) -> f64 {
    let rough = most / (TICKS_MAX - 1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0].into_iter().find(|nice| rough <= nice * power);
    nice.unwrap_or(10.0) * power
}

/// `words` may hold tags; none of what is written here needs to be escaped.
fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    put(
        svg,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333\">{words}</text>"
        ),
    );
}

/// Writing into a string cannot fail.
fn put(svg: &mut String, what: fmt::Arguments<'_>) {
    writeln!(svg, "{what}").ok();
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn real(count: usize) -> f64 {
    count as f64
}
