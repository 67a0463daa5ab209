//! Whether k8s/rendered was made from what stands in k8s/ now.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::manifests::root;

/// Folders whose files renderings are made from, links followed.
const SOURCES: [&str; 3] = ["k8s/base", "k8s/components", "k8s/overlays"];
const CHART: &str = "k8s/chart";
const VALUES: &str = "dev/prove.d/k8s/values";

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// As `find -L FOLDERS -type f | sort | xargs sha256sum | sha256sum` in the C locale prints it.
fn digest() -> String {
    let mut all = Vec::new();
    for folder in SOURCES.into_iter().chain([CHART, VALUES]) {
        files(&root().join(folder), &mut all);
    }
    let relative =
        |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let mut names: Vec<_> = all.iter().map(relative).collect();
    names.sort();
    let lines = names.iter().fold(String::new(), |mut lines, name| {
        let content = fs::read(root().join(name)).unwrap();
        writeln!(lines, "{}  {name}", hex(&Sha256::digest(content))).unwrap();
        lines
    });
    hex(&Sha256::digest(lines))
}

#[test]
fn what_is_rendered_is_of_today() {
    let kept = fs::read_to_string(root().join("k8s/rendered/sources.sha256")).unwrap();
    let kept = kept.split_whitespace().next().unwrap();
    assert_eq!(kept, digest(), "k8s/ was changed since it was rendered: dev/prove k8s render");
}
