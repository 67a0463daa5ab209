//! Networks that nobody here had a hand in, as common tools export them: all are computed in int8, near to float32, and the same
//! alone and in company.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

use models::manifest::Precision;
use processor::classifier::{
    Arithmetic, Classifier, Engine, Kernel, Scores, Shape, Shapes,
    engine::{Network, UnusableNetwork},
};

/// Ids that the networks know.
const WORDS: u32 = 120;
/// Most tokens that they read.
const TOKENS_MAX: usize = 64;

fn engine(name: &str, has_token_types: bool, precision: Precision, kernel: Kernel) -> Engine {
    try_engine(name, has_token_types, precision, kernel).unwrap()
}

fn try_engine(
    name: &str,
    has_token_types: bool,
    precision: Precision,
    kernel: Kernel,
) -> Result<Engine, UnusableNetwork> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports").join(name);
    let onnx = fs::read(path.with_extension("onnx")).unwrap();
    let network = Network {
        onnx: &onnx,
        token_ids: "input_ids",
        attention_mask: "attention_mask",
        token_types: has_token_types.then_some("token_type_ids"),
        logits: "logits",
        embedding: "embedding",
    };
    let offered =
        [1, 3, 8].into_iter().flat_map(|rows| [7, 16, 33].map(|tokens| Shape { tokens, rows }));
    Engine::new(network, Shapes::new(offered, TOKENS_MAX), precision, kernel)
}

/// Kernels that this CPU has.
fn kernels() -> impl Iterator<Item = Kernel> {
    let all = [Kernel::AmxInt8, Kernel::Avx512Vnni, Kernel::AvxVnni, Kernel::Avx2];
    all.into_iter()
        .filter(|kernel| try_engine("distilbert", false, Precision::F32, *kernel).is_ok())
}

/// Texts of all lengths up to `tokens`.
fn texts(count: usize, tokens: usize) -> Vec<Vec<u32>> {
    let length = |text: usize| 1 + (text * 5 + tokens - 1) % tokens;
    let ids = |text: usize| {
        (0..length(text))
            .map(move |at| 3 + u32::try_from(at * 31 + text * 17).unwrap() % (WORDS - 3))
    };
    (0..count).map(|text| ids(text).collect()).collect()
}

fn scores(engine: &Engine, tokens: usize, rows: &[Vec<u32>]) -> Vec<Scores> {
    let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    engine.classify(Shape { tokens, rows: rows.len() }, &slices).unwrap()
}

#[track_caller]
fn check(name: &str, has_token_types: bool, labels: usize) {
    let exact = engine(name, has_token_types, Precision::F32, Kernel::Auto);
    for kernel in kernels() {
        let rounded = engine(name, has_token_types, Precision::Int8, kernel);
        assert_eq!(
            rounded.arithmetic(),
            Arithmetic { precision: Precision::Int8, kernel },
            "{name}"
        );
        for (rows, tokens) in [(1, 7), (3, 7), (8, 16), (3, 33), (1, TOKENS_MAX)] {
            let texts = texts(rows, tokens);
            let together = scores(&rounded, tokens, &texts);
            for (found, expected) in together.iter().zip(scores(&exact, tokens, &texts)) {
                assert_eq!(found.logits.len(), labels);
                let both =
                    [(&found.logits, &expected.logits), (&found.embedding, &expected.embedding)];
                for (found, expected) in both.into_iter().flat_map(|(a, b)| a.iter().zip(b)) {
                    assert!(
                        (found - expected).abs() < 0.1,
                        "{name} {rows}x{tokens}: {found} instead of {expected}"
                    );
                }
            }
            for (text, together) in texts.iter().zip(&together) {
                assert_eq!(
                    scores(&rounded, tokens, std::slice::from_ref(text)),
                    std::slice::from_ref(together),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn bert_with_three_inputs() {
    check("bert-eager", true, 3);
}

#[test]
fn bert_with_scaled_dot_product_attention() {
    check("bert-sdpa", true, 2);
}

#[test]
fn distilbert() {
    check("distilbert", false, 2);
}

#[test]
fn roberta() {
    check("roberta", false, 2);
}

#[test]
fn electra_with_narrow_embeddings_and_many_labels() {
    check("electra", false, 7);
}

#[test]
fn all_kernels_say_the_same() {
    let texts = texts(8, 16);
    let all: Vec<_> = kernels()
        .map(|kernel| scores(&engine("roberta", false, Precision::Int8, kernel), 16, &texts))
        .collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_kernel_that_the_cpu_lacks_is_refused_by_name() {
    let here: Vec<_> = kernels().collect();
    for kernel in [Kernel::AmxInt8, Kernel::Avx512Vnni, Kernel::AvxVnni, Kernel::Avx2] {
        if !here.contains(&kernel) {
            let error = try_engine("distilbert", false, Precision::Int8, kernel).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&format!("processor.kernel is {kernel}")), "{message}");
            assert!(message.contains("auto"), "{message}");
        }
    }
}

#[test]
fn float32_is_what_was_asked_for_or_what_is_left() {
    let float32 = Arithmetic { precision: Precision::F32, kernel: Kernel::F32 };
    assert_eq!(engine("roberta", false, Precision::Int8, Kernel::F32).arithmetic(), float32);
    assert_eq!(engine("roberta", false, Precision::F32, Kernel::Auto).arithmetic(), float32);
}
