//! The report for the terminal: a line a signal, and below it what the numbers mean.

use std::io;

use drift::Signal;

use super::{gather::Period, judged::Report};

/// Writes the report of one model.
pub(super) fn write(out: &mut impl io::Write, period: &Period, report: &Report) -> io::Result<()> {
    let (n, windows) = (report.whole.n(), report.judgements.len());
    writeln!(out, "\n{} from {} to {}", report.model, period.from, period.to)?;
    writeln!(
        out,
        "{n} verdicts in {windows} windows of {} s, beside {} held-out ones",
        period.window_s,
        report.reference.n()
    )?;
    if 0 < report.uncounted {
        writeln!(
            out,
            "{} verdicts do not fit the reference and are not counted",
            report.uncounted
        )?;
    }
    writeln!(out, "\n{:<18} {:>12} {:>12} {:>9}  state", "signal", "score", "threshold", "effect")?;
    for signal in Signal::ALL {
        let course = report.course(signal).told();
        match report.decision(signal) {
            None => writeln!(out, "{:<18} {:>12} {:>12} {:>9}", signal.name(), "-", "-", "-")?,
            Some(decision) => {
                let measured = &decision.measurement;
                writeln!(
                    out,
                    "{:<18} {:>12.4} {:>12.4} {:>9.4}  {course}",
                    signal.name(),
                    measured.score,
                    measured.threshold,
                    measured.effect
                )?;
                writeln!(out, "    {}", Report::sentence(decision))?;
            }
        }
    }
    writeln!(out, "\n{}", accuracy(report))?;
    writeln!(out, "-: not in the bundle, or too little to judge")
}

/// Accuracy in words.
pub(super) fn accuracy(report: &Report) -> String {
    let told = |estimate: Option<drift::statistics::accuracy::Estimate>| {
        estimate.map(|it| {
            format!("{:.1} % (\u{b1} {:.1})", 100.0 * it.value, 200.0 * it.standard_error)
        })
    };
    let estimated = told(report.overall.estimated_accuracy).unwrap_or_else(|| "unknown".to_owned());
    let labelled = report.whole.sums().labelled.n();
    match told(report.overall.realised_accuracy) {
        Some(realised) => format!(
            "accuracy: estimated {estimated}, realised {realised} on {labelled} labels that came in this time"
        ),
        None => format!("accuracy: estimated {estimated}; no labels came in this time"),
    }
}
