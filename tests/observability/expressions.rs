//! What metrics an expression needs: an alert that is silent answers nothing, so that its metrics have to be looked at one by one.

/// Words after which labels stand in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Names of the metrics in an expression: what is no function, no operator, and in no braces. All of ours have `_` or `:` in
/// them, but for `up`.
pub(crate) fn metrics(expression: &str) -> Vec<String> {
    let is_name = |character: char| character.is_alphanumeric() || "_:".contains(character);
    let mut metrics = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if let Some(close) = closing(first) {
            let inside = &rest[1..];
            rest = inside.find(close).map_or("", |end| &inside[end + 1..]);
            continue;
        }
        if !is_name(first) {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let word = rest.split(|character: char| !is_name(character)).next().unwrap_or_default();
        rest = rest[word.len()..].trim_start();
        if BEFORE_LABELS.contains(&word) {
            rest = rest.strip_prefix('(').and_then(|it| it.split_once(')')).map_or(rest, |it| it.1);
        } else if (word == "up" || word.contains(['_', ':'])) && !rest.starts_with('(') {
            metrics.push(word.to_owned());
        }
    }
    metrics.sort();
    metrics.dedup();
    metrics
}

fn closing(character: char) -> Option<char> {
    match character {
        '{' => Some('}'),
        '[' => Some(']'),
        '"' => Some('"'),
        _ => None,
    }
}

#[test]
fn an_expression_names_its_metrics() {
    for (expression, expected) in [
        ("up{job=\"a_b\"} == 0 or absent(up)", vec!["up"]),
        ("sum by (le, a_b) (rate(c_d_bucket{e_f=\"g_h\"}[5m]))", vec!["c_d_bucket"]),
        ("a:b:c > 14.4 * 0.001\nand on () d_e > 0", vec!["a:b:c", "d_e"]),
        ("histogram_quantile(0.9, a_b) * on (x_y) group_left () c_d", vec!["a_b", "c_d"]),
        ("vector(0)", vec![]),
    ] {
        assert_eq!(metrics(expression), expected, "{expression}");
    }
}
