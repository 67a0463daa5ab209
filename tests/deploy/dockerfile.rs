//! The Dockerfile as stages: what each is made from, and what an image of it would say of itself.

use std::{collections::BTreeMap, fs, path::Path};

/// The programs that there is an image of, in the order of the Dockerfile.
pub(crate) const IMAGES: [&str; 4] = ["ingest", "processor", "sink", "verdict"];

/// One stage, with what it has from the stages that it is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// The image or stage that it begins with.
    pub(crate) from: String,
    pub(crate) user: String,
    pub(crate) entry_point: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) copies: Vec<Copied>,
}

/// A `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The stage that it is from; `None` for the tree.
    pub(crate) from: Option<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) to: String,
}

impl Stage {
    /// The file of the tree that is at `path` in the image, if one was copied to that very path.
    pub(crate) fn source_of(&self, path: &str) -> Option<&str> {
        let copied =
            self.copies.iter().find(|copied| copied.to == path && copied.from.is_none())?;
        copied.sources.first().map(String::as_str)
    }
}

/// A file of the repository.
pub(crate) fn read(relative: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)).unwrap()
}

/// The stages by name, and the bases that come from elsewhere.
pub(crate) fn stages(dockerfile: &str) -> (BTreeMap<String, Stage>, Vec<String>) {
    let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
    let mut bases = Vec::new();
    let mut name = String::new();
    for instruction in instructions(dockerfile) {
        let (word, rest) = instruction.split_once(' ').unwrap();
        if word == "FROM" {
            let (from, alias) = rest.split_once(" AS ").unwrap();
            if !stages.contains_key(from) {
                bases.push(from.to_owned());
            }
            let begun = stages.get(from).cloned().unwrap_or_default();
            alias.clone_into(&mut name);
            stages.insert(name.clone(), Stage { from: from.to_owned(), ..begun });
            continue;
        }
        let stage = stages.get_mut(&name).unwrap();
        match word {
            "USER" => rest.clone_into(&mut stage.user),
            "ENTRYPOINT" => stage.entry_point = serde_json::from_str(rest).unwrap(),
            "EXPOSE" => stage.ports.push(rest.parse().unwrap()),
            "ENV" => {
                let (key, value) = rest.split_once('=').unwrap();
                stage.environment.insert(key.to_owned(), value.to_owned());
            }
            "COPY" => stage.copies.push(copied(rest)),
            _ => {}
        }
    }
    (stages, bases)
}

/// One instruction each, continued lines made one, without comments.
fn instructions(dockerfile: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut begun = String::new();
    for line in dockerfile.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(part) => begun.push_str(part),
            None => instructions.push(std::mem::take(&mut begun) + line),
        }
    }
    instructions
}

fn copied(rest: &str) -> Copied {
    let (flags, mut paths): (Vec<_>, Vec<_>) =
        rest.split_ascii_whitespace().map(str::to_owned).partition(|word| word.starts_with("--"));
    let from = flags.iter().find_map(|flag| flag.strip_prefix("--from=")).map(str::to_owned);
    let to = paths.pop().unwrap();
    Copied { from, sources: paths, to }
}

#[test]
fn a_stage_has_what_its_base_has() {
    let text = "FROM a:1 AS one\nUSER 7:7\n# No.\nRUN b \\\n    && c\nFROM one AS two\nCOPY --from=one /x y /z/\n\
                ENV K=V\nEXPOSE 80\nENTRYPOINT [\"/p\"]\n";
    let (stages, bases) = stages(text);
    assert_eq!(bases, ["a:1"]);
    let two = &stages["two"];
    assert_eq!((two.user.as_str(), two.from.as_str()), ("7:7", "one"));
    assert_eq!((&two.ports[..], &two.entry_point[..]), (&[80][..], &["/p".to_owned()][..]));
    assert_eq!(two.environment["K"], "V");
    let sources = vec!["/x".to_owned(), "y".to_owned()];
    assert_eq!(
        two.copies,
        [Copied { from: Some("one".to_owned()), sources, to: "/z/".to_owned() }]
    );
    assert!(stages["one"].copies.is_empty());
}
