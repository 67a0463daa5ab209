//! The report as one HTML file: no script, nothing from elsewhere, light and dark as the reader's system has it.

use drift::{
    Decision, Signal,
    picture::{self, Bar},
};

use super::{
    draw::{self, AccuracyPoint, Point, figure, write},
    gather::Period,
    judged::Report,
    movers::Mover,
    table,
};

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(super) fn render(period: &Period, reports: &[Report]) -> String {
    let title = format!("Drift from {} to {}", period.from, period.to);
    let title = escape(&title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Drift</h1>\n<p class=\"lead\">Verdicts on reviews written from {} to {}, in windows of {} s, \
         beside the held-out data of the same model version.</p>\n",
        escape(&period.from.to_string()),
        escape(&period.to.to_string()),
        period.window_s
    );
    for report in reports {
        model(&mut html, period, report);
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

/// Text that is nothing but text, in content and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// With a capital.
fn sentence(words: &str) -> String {
    let mut sentence = words.to_owned();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

fn model(html: &mut String, period: &Period, report: &Report) {
    let name = escape(&report.model.to_string());
    write(
        html,
        format_args!(
            "<section aria-label=\"{name}\">\n<h2>{name}</h2>\n<p>{} verdicts in {} windows, beside {} held-out ones. \
         <span class=\"quiet\">{}</span></p>\n",
            report.whole.n(),
            report.judgements.len(),
            report.reference.n(),
            escape(&report.model.digest)
        ),
    );
    if 0 < report.uncounted {
        write(
            html,
            format_args!(
                "<p class=\"notice\">{} verdicts do not fit the reference and are not counted.</p>\n",
                report.uncounted
            ),
        );
    }
    if report.overall.is_concept_drift || report.judgements.iter().any(|it| it.is_concept_drift) {
        html.push_str(
            "<p class=\"notice\">People judge the same reviews otherwise than they did: accuracy fell while nothing else moved.</p>\n",
        );
    }
    summary(html, report);
    html.push_str(
        "<p class=\"legend\"><span class=\"key reference\"></span> held-out reference \
         <span class=\"key period\"></span> this period</p>\n",
    );
    accuracy(html, period, report);
    for signal in Signal::ALL {
        if let Some(decision) = report.decision(signal) {
            section(html, period, report, decision);
        }
    }
    html.push_str("</section>\n");
}

fn summary(html: &mut String, report: &Report) {
    html.push_str(
        "<div class=\"scroll\"><table>\n<caption>All signals over the whole period</caption>\n<thead><tr>\
         <th scope=\"col\">Signal</th><th scope=\"col\" class=\"number\">Score</th>\
         <th scope=\"col\" class=\"number\">Threshold</th><th scope=\"col\" class=\"number\">Effect</th>\
         <th scope=\"col\">State</th><th scope=\"col\">In words</th></tr></thead>\n<tbody>\n",
    );
    for signal in Signal::ALL {
        let name = escape(signal.name());
        let Some(decision) = report.decision(signal) else {
            write(
                html,
                format_args!(
                    "<tr class=\"silent\"><th scope=\"row\">{name}</th><td class=\"number\">-</td>\
                 <td class=\"number\">-</td><td class=\"number\">-</td><td></td>\
                 <td>Not in the bundle, or too little to judge</td></tr>\n"
                ),
            );
            continue;
        };
        let measured = &decision.measurement;
        let class = if decision.drifted { "drifted" } else { "clean" };
        write(
            html,
            format_args!(
                "<tr class=\"{class}\"><th scope=\"row\">{name}</th><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>\n",
                figure(measured.score),
                figure(measured.threshold),
                figure(measured.effect),
                escape(&report.course(signal).told()),
                escape(&sentence(Report::sentence(decision)))
            ),
        );
    }
    html.push_str("</tbody>\n</table></div>\n");
}

fn accuracy(html: &mut String, period: &Period, report: &Report) {
    let points: Vec<_> = report
        .judgements
        .iter()
        .map(|judgement| AccuracyPoint {
            at: told(period, judgement.window),
            estimated: judgement.estimated_accuracy,
            realised: judgement.realised_accuracy,
        })
        .collect();
    let words = sentence(&table::accuracy(report));
    let chart = draw::accuracy(&format!("Accuracy over windows. {words}"), &points);
    write(
        html,
        format_args!(
            "<h3>Accuracy</h3>\n<p>{}. Estimated accuracy comes from confidence alone and cannot see that what is right has \
         changed; the band is two standard errors. Labels count in the window in which they were given.</p>\n\
         <p class=\"legend\"><span class=\"key estimated\"></span> estimated \
         <span class=\"key realised\"></span> realised, by labels</p>\n<figure>{chart}</figure>\n",
            escape(&words)
        ),
    );
}

fn section(html: &mut String, period: &Period, report: &Report, decision: &Decision) {
    let signal = decision.signal;
    let name = escape(&sentence(signal.name()));
    let state = if decision.drifted { "<span class=\"tag\">drifted</span>" } else { "" };
    write(
        html,
        format_args!("<h3>{name} {state}</h3>\n<p>{}.</p>\n", escape(Report::sentence(decision))),
    );
    let bars = bars(report, decision);
    if !bars.is_empty() {
        let chart = draw::bars(&format!("{name}, reference and period"), &bars);
        write(
            html,
            format_args!(
                "<figure>{chart}<figcaption>Shares in the reference and in the period</figcaption></figure>\n"
            ),
        );
    }
    let points: Vec<_> = report
        .series(signal)
        .into_iter()
        .map(|(window, decision)| Point {
            at: told(period, window),
            score: decision.measurement.score,
            threshold: decision.measurement.threshold,
            drifted: decision.drifted,
        })
        .collect();
    if points.is_empty() {
        html.push_str("<p class=\"quiet\">No window is large enough to be judged alone.</p>\n");
    } else {
        let chart = draw::series(&format!("{name}, score over windows"), &points);
        write(
            html,
            format_args!(
                "<figure>{chart}<figcaption>Score of each window (line) and its threshold (dashes); \
             filled dots are windows that drifted</figcaption></figure>\n"
            ),
        );
    }
    movers(html, &report.movers.of_signal(signal));
}

/// What can be drawn side by side of a signal: its bins, or the one share or mean that it is about.
fn bars(report: &Report, decision: &Decision) -> Vec<Bar> {
    let (window, reference) = (&report.whole, &report.reference);
    let values = &decision.measurement.values;
    let one = |name: &str| {
        let (name, reference, observed) = (name.to_owned(), values.reference, values.observed);
        vec![Bar { name, reference, observed }]
    };
    match decision.signal {
        Signal::Labels => picture::labels(window, reference),
        Signal::Confidence => picture::confidence(window, reference),
        Signal::Tokens => picture::tokens(window, reference),
        Signal::Languages => picture::languages(window, reference),
        Signal::Uncertainty => one("uncertain"),
        Signal::Truncation => one("truncated"),
        Signal::UnknownTokens => one("unknown tokens"),
        Signal::Words => one(values.subject.as_deref().unwrap_or_default()),
        Signal::CrossEntropy | Signal::Embedding | Signal::AccuracyGap => Vec::new(),
    }
}

fn movers(html: &mut String, movers: &[&Mover]) {
    if movers.is_empty() {
        return;
    }
    html.push_str(
        "<details open><summary>The texts that moved it most</summary>\n<ol class=\"texts\">\n",
    );
    for mover in movers {
        let text = match &mover.text {
            Some(text) => escape(text),
            None => "<span class=\"quiet\">(its text is not stored)</span>".to_owned(),
        };
        let given = mover.given.as_ref().map(|label| format!(", people say {}", escape(label)));
        write(
            html,
            format_args!(
                "<li><blockquote>{text}</blockquote><p class=\"quiet\">{} {:.1} %{}, {} tokens, <code>{}</code></p></li>\n",
                escape(&mover.label),
                100.0 * mover.confidence,
                given.unwrap_or_default(),
                mover.tokens,
                escape(&mover.id)
            ),
        );
    }
    html.push_str("</ol></details>\n");
}

fn told(period: &Period, window: i64) -> String {
    period.start(window).strftime("%Y-%m-%d %H:%M").to_string()
}
