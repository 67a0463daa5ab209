//! Drift: whether what comes in, or what the model makes of it, still looks like the data that the model was tried on.
//!
//! Pure: no input or output, no clock, no chance but seeded. Whoever reads verdicts counts their [`Features`] in partial
//! [`Window`]s and hands these on; whoever decides puts them together ([`Assembly`]), compares each closed window with the
//! bundle's [`Reference`], and keeps a [`Monitor`], whose [`Decision`]s say which signal drifted, by how much, how surely, and
//! in a sentence for people. Windows are sums of integers: however they are split, merged and sent again, the same verdicts
//! give the same window and the same decision.
//!
//! # Layout
//! - [`features`]: what drift needs to know of one verdict, with [`vocabulary`] (its cross-entropy), [`projection`] (its
//!   embedding in sixteen bytes), [`fourier`] (that embedding as something to add up) and [`words`] (its rarest words)
//! - [`window`]: what verdicts add up to; merging is exactly associative and commutative
//! - [`assembly`]: from partial windows to those that are judged
//! - [`reference`](mod@reference): what windows are compared with; [`reference::profile`]: making one of held-out reviews
//! - [`statistics`]: the table below; [`tail`] has their probabilities, [`histogram`] the bins
//! - [`decision`]: effect and significance, confirmed; states and sentences
//! - [`picture`]: a window beside its reference, for those who draw; [`witness`]: the verdicts that made the difference
//! - [`error`], [`number`]: what can be wrong, and how integers stand for real numbers
//!
//! # Statistics
//!
//! | statistic | formula | golden numbers of |
//! |---|---|---|
//! | [stability index](statistics::stability) | Kullback & Leibler 1951; threshold Yurdakul 2018 | evidently, scipy |
//! | [Jensen-Shannon divergence and distance](statistics::divergence), base 2 | Lin 1991, eq. 4.1; Endres & Schindelin 2003 | evidently, nannyml, scipy |
//! | [L-infinity](statistics::divergence::l_infinity) | Breck et al. 2019 | nannyml |
//! | [chi-square, two samples](statistics::chi_square) | Pearson 1911 | scipy |
//! | [Kolmogorov-Smirnov](statistics::kolmogorov_smirnov), raw and binned | Smirnov 1939; Kolmogorov 1933 | scipy |
//! | [difference of means, ratio of sums](statistics::mean) | Welch 1938; Cochran 1977, section 6.4 | scipy; numpy |
//! | [vocabulary cross-entropy](Vocabulary::cross_entropy) | Chang et al., ACL 2023, section 3.1 | scipy |
//! | [random Fourier features](FourierMap) | Rahimi & Recht 2007, algorithm 1 | numpy |
//! | [maximum mean discrepancy](statistics::mmd) | Gretton et al. 2012, eq. 5 and theorem 12; Imhof 1961 | numpy, exact kernel and exact null distribution by scipy |
//! | [ADWIN](statistics::adwin) | Bifet & Gavalda 2007, section 4 | river |
//! | [DDM](statistics::ddm) | Gama et al. 2004, section 3 | river |
//! | [estimated accuracy](statistics::accuracy::mean_confidence) | CBPE, `NannyML` | nannyml |
//! | [estimated accuracy, by bins](statistics::accuracy::Calibration::estimated) | CBPE; Zadrozny & Elkan 2001 | numpy |
//! | [realised accuracy, coverage, gap](statistics::accuracy) | binomial and Poisson-binomial variance | numpy |
//! | [counts of a word that rose](statistics::rise) | Przyborowski & Wilenski 1940 | scipy |
//! | [tails and critical values](tail) | Abramowitz & Stegun 1964, eq. 26.4.19 and 26.2.29 | scipy |
//!
//! The golden files lie in `tests/golden` with the script that makes them. Both sides compute the same formula, so they
//! agree to 1e-9 of their size; only the null distribution of the discrepancy is an approximation, whose threshold is within
//! 6 % of the exact one.
//!
//! # Signals
//!
//! | signal | score | effect | reference needs |
//! |---|---|---|---|
//! | labels | chi-square | L-infinity | |
//! | confidence, tokens | stability index on bins of at least 25 expected | the same | |
//! | truncation | chi-square | difference of shares | |
//! | unknown tokens | deviations of a ratio, reviews as clusters | difference of shares | |
//! | uncertainty | chi-square | difference of shares | `uncertain` |
//! | languages | chi-square | L-infinity | `languages` |
//! | cross-entropy | Welch's deviations | in deviations of the reference | `cross_entropy`, for whoever counts `vocabulary` |
//! | words | `-log10` of the smallest of all buckets' probabilities, times buckets | difference of its share | `words`, for whoever counts `vocabulary` |
//! | embedding | squared discrepancy | discrepancy less chance | `embedding` |
//! | accuracy gap | deviations of estimated less realised | difference | `histograms.confidence.correct` |
//!
//! A signal whose needs the bundle does not meet is silent. [`adwin`](statistics::adwin) and [`ddm`](statistics::ddm) are for
//! series over windows, such as the mean confidence or the labels as they arrive; they keep their own state.
//!
//! ```
//! use drift::{Features, Model, Monitor, Reference, Settings, Signal, Window, assembly::Closed};
//!
//! let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/sentiment/1/reference.json");
//! let reference = Reference::from_json(&std::fs::read(bundle)?, drift::reference::WHOLE)?;
//! let [name, version, digest] = ["sentiment", "1", "sha256:00"].map(str::to_owned);
//! let mut window = Window::empty(Model { name, version, digest }, &reference)?;
//! let verdict = Features {
//!     label: "positive".to_owned(),
//!     confidence: 0.97,
//!     probabilities: [("positive".to_owned(), 0.97), ("negative".to_owned(), 0.03)].into(),
//!     tokens: 12,
//!     special_tokens: 2,
//!     unknown_tokens: 0,
//!     truncated: false,
//!     cross_entropy: None,
//!     projection: None,
//!     language: None,
//!     words: None,
//! };
//! for second in 0..500 {
//!     window.record(&reference, 1_000 * second, &verdict)?;
//! }
//! let mut monitor = Monitor::default();
//! let judgement = monitor.judge(&Closed { index: 0, window }, &reference, &Settings::default());
//! let labels = judgement.decisions.iter().find(|decision| decision.signal == Signal::Labels);
//! assert!(labels.is_some_and(|decision| decision.drifted), "five hundred times the same verdict");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assembly;
pub mod decision;
pub mod error;
pub mod features;
pub mod fourier;
pub mod histogram;
pub mod number;
pub mod picture;
pub mod projection;
mod random;
pub mod reference;
pub mod statistics;
pub mod tail;
pub mod vocabulary;
pub mod window;
pub mod witness;
pub mod words;

pub use assembly::Assembly;
pub use decision::{Decision, Judgement, Monitor, Settings, Signal, State};
pub use features::Features;
pub use fourier::{FourierMap, FourierSettings};
pub use projection::{Projected, Projection};
pub use reference::Reference;
pub use vocabulary::Vocabulary;
pub use window::{Model, Window};
pub use witness::Witness;
pub use words::WordPieces;
