//! The JSON Schemas in `json/` are what the code says. `VERDICT_REGENERATE=1` writes them anew.

use std::{env, fs, path::PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use schemars::{JsonSchema, generate::SchemaSettings};
use schemas::{DriftAlert, Feedback, IncomingReview, Verdict};
use serde_json::{Value, json};

use crate::golden;

const REGENERATE: &str = "VERDICT_REGENERATE";

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// Name of the file, kind of golden record, schema.
fn all() -> [(&'static str, &'static str, Value); 4] {
    [
        ("review.v1", "review", schema::<IncomingReview>()),
        ("verdict.v1", "verdict", schema::<Verdict>()),
        ("feedback.v1", "feedback", schema::<Feedback>()),
        ("drift-alert.v1", "drift-alert", schema::<DriftAlert>()),
    ]
}

fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("json").join(format!("{name}.schema.json"))
}

/// A compiled schema; draft 2020-12 where a schema names none.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new(schema: Value) -> Self {
        const NAME: &str = "schema.json";
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(NAME, schema).unwrap();
        let index = compiler.compile(NAME, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn validate(&self, value: &Value) -> Result<(), String> {
        self.schemas.validate(value, self.index).map_err(|error| error.to_string())
    }
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (name, _, schema) in all() {
        if env::var_os(REGENERATE).is_some_and(|value| value == "1") {
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        let published = fs::read_to_string(path(name)).unwrap_or_default();
        // Not as text: the order of keys depends on features of serde_json that any crate in a build may turn on.
        let published: Value = serde_json::from_str(&published).unwrap_or_default();
        assert_eq!(published, schema, "{name}: run the tests with {REGENERATE}=1");
    }
}

#[test]
fn golden_records_follow_the_published_schemas() {
    for (name, kind, schema) in all() {
        let validator = Validator::new(schema);
        let mut validated = 0;
        for (golden, _, content) in golden::all().iter().filter(|(_, found, _)| *found == kind) {
            let Some(value) = &content.value else { continue };
            let outcome = validator.validate(value);
            assert_eq!(outcome, Ok(()), "{golden} against {name}");
            validated += 1;
        }
        assert!(0 < validated, "no golden {kind}");
    }
}

#[test]
fn a_schema_refuses_what_the_code_refuses() {
    let refused = [
        ("review.v1", json!({})),
        ("review.v1", json!({"review": 5})),
        ("review.v1", json!({"review": ""})),
        ("review.v1", json!({"review": "a", "id": "x".repeat(201)})),
        ("review.v1", json!({"review": "a", "metadata": []})),
        ("review.v1", json!(["a", "b"])),
        ("verdict.v1", json!({"id": "a"})),
        ("feedback.v1", json!({"id": "a"})),
        ("feedback.v1", json!({"id": "a", "label": ""})),
        ("drift-alert.v1", json!({"signal": "labels", "change": "stayed"})),
    ];
    for (name, value) in refused {
        let (_, _, schema) = all().into_iter().find(|(found, ..)| *found == name).unwrap();
        assert!(Validator::new(schema).validate(&value).is_err(), "{name} accepts {value}");
    }
}
