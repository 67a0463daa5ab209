//! The Dockerfile: pinned bases, a user without privileges, and settings that the program in the image takes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    dockerfile::{IMAGES, Stage, read, stages},
    programs,
};

/// Why the image is not pinned to one content, with its tag for people beside.
pub(crate) fn pin_breach(image: &str) -> Option<String> {
    let Some((name, digest)) = image.split_once("@sha256:") else {
        return Some(format!("{image}: without a digest"));
    };
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':'));
    match tag {
        Some((_, tag)) if is_digest && tag != "latest" => None,
        _ => Some(format!("{image}: without a tag, or with half a digest")),
    }
}

/// The final stages by name.
pub(crate) fn finals() -> BTreeMap<&'static str, Stage> {
    let (stages, _) = stages(&read("Dockerfile"));
    IMAGES.map(|name| (name, stages[name].clone())).into()
}

/// The file of settings that an image has, in the tree.
pub(crate) fn settings_file(stage: &Stage) -> &str {
    let inside = &stage.environment["VERDICT_CONFIG"];
    assert!(inside.starts_with("/etc/verdict/"), "{inside}");
    stage.source_of(inside).unwrap()
}

#[test]
fn bases_are_pinned() {
    let (_, bases) = stages(&read("Dockerfile"));
    assert_eq!(bases.len(), 2, "{bases:?}");
    assert_eq!(bases.iter().filter_map(|base| pin_breach(base)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_rule_for_pins_can_fail() {
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(pin_breach(&format!("gcr.io/a/b:1.2@sha256:{digest}")), None);
    for image in [
        "a:1.2".to_owned(),
        format!("a@sha256:{digest}"),
        format!("a:latest@sha256:{digest}"),
        "a:1@sha256:0123".to_owned(),
        format!("localhost:5000/a@sha256:{digest}"),
    ] {
        assert!(pin_breach(&image).is_some(), "{image}");
    }
}

#[test]
fn the_compiler_is_not_older_than_what_is_asked_for() {
    let (_, bases) = stages(&read("Dockerfile"));
    let tag = bases.iter().find_map(|base| base.strip_prefix("rust:")).unwrap();
    let number = |version: &str| -> Vec<u32> {
        version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
    };
    assert!(number(env!("CARGO_PKG_RUST_VERSION")) <= number(tag), "{tag}");
}

#[test]
fn every_program_has_an_image_that_runs_it_as_nobody() {
    for (name, stage) in finals() {
        assert_eq!(stage.user, "65532:65532", "{name}");
        let program = format!("/usr/local/bin/{name}");
        assert_eq!(stage.entry_point, std::slice::from_ref(&program), "{name}");
        let built = stage.copies.iter().find(|copied| copied.to == program).unwrap();
        assert_eq!(built.from.as_deref(), Some("build"), "{name}");
        assert_eq!(built.sources, [format!("/out/{name}")]);
    }
}

#[test]
fn every_image_has_settings_that_its_program_takes() {
    for (name, stage) in finals() {
        let file = settings_file(&stage);
        assert_eq!(programs::objection(name, file, &BTreeMap::new()), None, "{name}");
    }
}

#[test]
fn every_image_listens_where_it_says() {
    let listens = |file: &str, section: &str, default: std::net::SocketAddr| {
        let settings: toml::Table = read(file).parse().unwrap();
        let set = settings.get(section).and_then(|section| section.get("listen"));
        set.map_or(default, |listen| listen.as_str().unwrap().parse().unwrap())
    };
    for (name, stage) in finals() {
        let (section, default) = match name {
            "processor" => ("replica", processor::settings::ReplicaSettings::default().listen),
            "sink" => ("sink", sink::Settings::default().listen),
            _ => ("ingest", ingest::Settings::default().listen),
        };
        let listen = listens(settings_file(&stage), section, default);
        assert!(listen.ip().is_unspecified(), "{name}: nobody outside reaches {listen}");
        assert_eq!(stage.ports, [listen.port()], "{name}");
    }
}

#[test]
fn bundles_are_where_the_settings_say() {
    for (name, section, key) in [
        ("processor", "model", "repository"),
        ("sink", "drift", "models"),
        ("verdict", "model", "repository"),
    ] {
        let stage = &finals()[name];
        let settings: toml::Table = read(settings_file(stage)).parse().unwrap();
        let source = stage.source_of(settings[section][key].as_str().unwrap()).unwrap();
        let model: PathBuf =
            processor::settings::ModelSettings::default().name.split('@').collect();
        let manifest = Path::new(source).join(model).join("model.toml");
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(&manifest).exists(),
            "{name}: {manifest:?}"
        );
    }
    let stage = &finals()["verdict"];
    let settings: toml::Table = read(settings_file(stage)).parse().unwrap();
    let data = settings["up"]["data"].as_str().unwrap();
    assert!(stage.copies.iter().any(|copied| copied.to == data), "{data} would not be writable");
}

#[test]
fn what_is_copied_is_there_and_not_ignored() {
    let ignore = read(".dockerignore");
    let ignored: Vec<_> =
        ignore.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (stages, _) = stages(&read("Dockerfile"));
    let copies = stages.values().flat_map(|stage| &stage.copies);
    let from_tree = copies.filter(|copied| copied.from.is_none());
    let mut needed: Vec<_> = from_tree.flat_map(|copied| copied.sources.clone()).collect();
    // Cargo reads no workspace with a member or a target missing.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    needed.extend(members.map(|member| member.as_str().unwrap().to_owned()));
    let targets = manifest["test"].as_array().unwrap().iter();
    needed.extend(targets.map(|target| target["path"].as_str().unwrap().to_owned()));
    for path in needed.iter().filter(|path| *path != ".") {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
        let hides = |pattern: &&str| Path::new(path).starts_with(pattern);
        assert_eq!(ignored.iter().copied().find(hides), None, "{path}");
    }
}
