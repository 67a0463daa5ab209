//! What the programs say of what is wrong, in one line, and the code that they end with: as processes, as a pod would start them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use chassis::{clock, exit::Ending};

/// Longest wait for a process to end, or to say something.
const LIMIT: Duration = Duration::from_mins(1);

/// A program of ours, killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a program in a folder of its own, with these variables alone.
fn start(program: &str, folder: &Path, variables: &[(&str, &str)]) -> Started {
    let path = Path::new(env!("CARGO_BIN_EXE_verdict")).with_file_name(program);
    let mut command = Command::new(path);
    command.current_dir(folder).env_clear().envs(variables.iter().copied());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Started(child)
}

/// Waits until it has ended; its status and the lines of its standard error.
fn ended(mut started: Started) -> (ExitStatus, Vec<String>) {
    // Somebody has to read, or a process that says much waits for ever.
    let stdout = BufReader::new(started.0.stdout.take().unwrap());
    let read = thread::spawn(move || stdout.lines().for_each(drop));
    let until = clock::monotonic() + LIMIT;
    let status = loop {
        if let Some(status) = started.0.try_wait().unwrap() {
            break status;
        }
        assert!(clock::monotonic() < until, "it has not ended");
        thread::sleep(Duration::from_millis(20));
    };
    read.join().unwrap();
    let stderr = BufReader::new(started.0.stderr.take().unwrap());
    (status, stderr.lines().map(Result::unwrap).collect())
}

/// It ends with the code, and says what was wrong in one line that has all of `parts`.
#[track_caller]
fn refuses(started: Started, ending: Ending, parts: &[&str]) {
    let (status, lines) = ended(started);
    let [line] = lines.as_slice() else { panic!("not one line: {lines:#?}") };
    assert!(line.starts_with("error: "), "{line}");
    for part in parts {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
    assert_eq!(status.code(), Some(i32::from(ending.code())), "{line}");
}

/// A port that nobody listens on, as long as the listener is there only to keep it from others.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const LISTEN: [(&str, &str); 3] = [
    ("VERDICT_INGEST__LISTEN", "127.0.0.1:0"),
    ("VERDICT_REPLICA__LISTEN", "127.0.0.1:0"),
    ("VERDICT_SINK__LISTEN", "127.0.0.1:0"),
];

/// Variables that any of the services takes, and these.
fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    LISTEN.iter().chain(more).copied().collect()
}

#[test]
fn an_unknown_setting_of_a_file_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (program, section) in [("ingest", "ingest"), ("processor", "replica"), ("sink", "sink")] {
        let file = format!("{program}.toml");
        fs::write(folder.path().join(&file), format!("[{section}]\nlistn = \"0.0.0.0:1\"\n"))
            .unwrap();
        let started = start(program, folder.path(), &[("VERDICT_CONFIG", &file)]);
        let key = format!("unknown setting `{section}.listn`");
        refuses(started, Ending::Misconfigured, &[&key, &file, "known here: ", "listen"]);
    }
}

#[test]
fn a_file_that_is_not_toml_is_one_line_as_well() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sink.toml"), "[sink\nrows_max = 7\n").unwrap();
    let started = start("sink", folder.path(), &[("VERDICT_CONFIG", "sink.toml")]);
    refuses(started, Ending::Misconfigured, &["sink.toml is not TOML", "line 1"]);
}

#[test]
fn a_variable_of_a_service_in_the_namespace_is_named() {
    // Kubernetes makes such variables of a Service called `verdict-cache`, unless a pod does without.
    let folder = tempfile::tempdir().unwrap();
    let linked = ("VERDICT_CACHE_SERVICE_HOST", "10.96.0.7");
    for program in ["ingest", "processor", "sink"] {
        let started = start(program, folder.path(), &[linked]);
        refuses(started, Ending::Misconfigured, &["unknown setting", "VERDICT_CACHE_SERVICE_HOST"]);
    }
}

#[test]
fn a_secret_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let secret =
        ("VERDICT_KAFKA__PROPERTIES__SASL_PASSWORD", "{file=\"/run/secrets/none/password\"}");
    for program in ["ingest", "processor", "sink"] {
        let started = start(program, folder.path(), &with(&[secret]));
        let parts =
            ["`kafka.properties.sasl.password`", "/run/secrets/none/password: No such file"];
        refuses(started, Ending::Misconfigured, &parts);
    }
    let password = ("VERDICT_STORE__PASSWORD", "{file=\"/run/secrets/none/store\"}");
    let started = start("sink", folder.path(), &with(&[password]));
    refuses(
        started,
        Ending::Misconfigured,
        &["`store.password`", "/run/secrets/none/store: No such file"],
    );
}

#[test]
fn a_kernel_that_the_cpu_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lacking = ["avx512-vnni", "avx-vnni", "avx2"].into_iter().filter(|kernel| match *kernel {
        #[cfg(target_arch = "x86_64")]
        "avx512-vnni" => !is_x86_feature_detected!("avx512vnni"),
        #[cfg(target_arch = "x86_64")]
        "avx-vnni" => !is_x86_feature_detected!("avxvnni"),
        #[cfg(target_arch = "x86_64")]
        "avx2" => !is_x86_feature_detected!("avx2"),
        _ => true,
    });
    for kernel in lacking {
        let started =
            start("processor", folder.path(), &with(&[("VERDICT_PROCESSOR__KERNEL", kernel)]));
        let said = format!("processor.kernel is {kernel}, which this CPU does not have");
        refuses(started, Ending::Misconfigured, &[&said]);
    }
}

#[test]
fn a_property_on_which_exactly_once_rests_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let acks = ("VERDICT_KAFKA__PROPERTIES__ACKS", "1");
    let started = start("processor", folder.path(), &with(&[acks]));
    refuses(started, Ending::Misconfigured, &["`acks`", "must be durable"]);
}

/// The small bundle, in a repository of its own.
fn bundle(folder: &Path) -> std::path::PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/tiny/1");
    let into = folder.join("models/tiny/1");
    fs::create_dir_all(&into).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), into.join(file.file_name())).unwrap();
    }
    into
}

const MODEL: [(&str, &str); 2] =
    [("VERDICT_MODEL__REPOSITORY", "models"), ("VERDICT_MODEL__NAME", "tiny@1")];

/// The processor with what is in `folder` stays, and says that it is not ready because of `part`.
#[track_caller]
fn stands_by(folder: &Path, model: &str, part: &str) {
    let port = closed_port();
    let listen = format!("127.0.0.1:{port}");
    let own =
        [MODEL[0], ("VERDICT_MODEL__NAME", model), ("VERDICT_REPLICA__LISTEN", listen.as_str())];
    let mut started = start("processor", folder, &own);
    never_ready_until(port, part);
    assert!(started.0.try_wait().unwrap().is_none(), "it has ended: a loop of starts tells nobody");
}

#[test]
fn a_bundle_with_another_digest_is_not_scored_with() {
    let folder = tempfile::tempdir().unwrap();
    let model = bundle(folder.path()).join("model.onnx");
    let mut bytes = fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&model, bytes).unwrap();
    stands_by(folder.path(), "tiny@1", "models/tiny/1/model.onnx has digest sha256:");
}

#[test]
fn a_bundle_that_is_not_there_is_named_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path());
    stands_by(folder.path(), "tiny@7", "no tiny@7 in models; it holds tiny@1");
    let misspelt = [MODEL[0], ("VERDICT_MODEL__NAME", "tiny@latest")];
    let started = start("processor", folder.path(), &with(&misspelt));
    refuses(started, Ending::Misconfigured, &["`latest` is not a model"]);
}

#[test]
fn a_broker_that_does_not_answer_is_named_by_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path());
    let servers = format!("127.0.0.1:{}", closed_port());
    let kafka = ("VERDICT_KAFKA__BOOTSTRAP_SERVERS", servers.as_str());
    let started = start("processor", folder.path(), &with(&[MODEL[0], MODEL[1], kafka]));
    let said = format!("no kafka broker answers at {servers}");
    refuses(started, Ending::Unreachable, &[&said, "Connection refused", "`bootstrap_servers`"]);
}

#[test]
fn a_store_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let node = format!("127.0.0.1:{}", closed_port());
    let url = format!("cql://{node}/verdict");
    for program in ["ingest", "sink"] {
        let started = start(program, folder.path(), &with(&[("VERDICT_STORE__URL", &url)]));
        let said = format!("no CQL server answers at {node}");
        refuses(started, Ending::Unreachable, &[&said, "Connection refused", "`store.url`"]);
    }
    let started = start("sink", folder.path(), &with(&[("VERDICT_STORE__URL", "postgres://x/y")]));
    refuses(started, Ending::Misconfigured, &["`postgres://x/y` is not the URL of a store"]);
}

/// The body of `GET /readyz`, where there is an answer.
fn readiness(port: u16) -> Option<String> {
    match chassis::readiness::ask(([127, 0, 0, 1], port).into()) {
        Ok(()) => Some("ready".to_owned()),
        Err(chassis::readiness::NotReady::Refused { answer, .. }) => Some(answer),
        Err(chassis::readiness::NotReady::Silent { .. }) => None,
    }
}

/// Asks until an answer has `part` in it; none may be that it is ready.
#[track_caller]
fn never_ready_until(port: u16, part: &str) {
    let until: Instant = clock::monotonic() + LIMIT;
    loop {
        let answer = readiness(port);
        assert_ne!(answer.as_deref(), Some("ready"));
        if answer.is_some_and(|answer| answer.contains(part)) {
            return;
        }
        assert!(clock::monotonic() < until, "`{part}` is never said");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_processor_is_not_ready_before_it_has_its_model_and_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path());
    let (port, servers) = (closed_port(), format!("127.0.0.1:{}", closed_port()));
    let listen = format!("127.0.0.1:{port}");
    let kafka = ("VERDICT_KAFKA__BOOTSTRAP_SERVERS", servers.as_str());
    let own = [MODEL[0], MODEL[1], kafka, ("VERDICT_REPLICA__LISTEN", listen.as_str())];
    let mut started = start("processor", folder.path(), &own);
    let stdout = BufReader::new(started.0.stdout.take().unwrap());
    let read = thread::spawn(move || stdout.lines().for_each(drop));
    never_ready_until(port, "connecting to the broker");
    drop(started);
    read.join().unwrap();
}

#[test]
fn services_whose_broker_is_away_wait_for_it_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let servers = format!("127.0.0.1:{}", closed_port());
    let kafka = ("VERDICT_KAFKA__BOOTSTRAP_SERVERS", servers.as_str());
    for (program, variable) in
        [("ingest", "VERDICT_INGEST__LISTEN"), ("sink", "VERDICT_SINK__LISTEN")]
    {
        let port = closed_port();
        let listen = format!("127.0.0.1:{port}");
        let url = format!("sqlite:{program}.db");
        let own = [kafka, (variable, listen.as_str()), ("VERDICT_STORE__URL", url.as_str())];
        let mut started = start(program, folder.path(), &own);
        let stdout = BufReader::new(started.0.stdout.take().unwrap());
        let read = thread::spawn(move || stdout.lines().count());
        never_ready_until(port, &servers);
        assert!(started.0.try_wait().unwrap().is_none(), "{program} has not waited");
        drop(started);
        // Forty lines a second would bury the one that says it.
        let lines = read.join().unwrap();
        assert!(lines < 100, "{program}: {lines} lines");
    }
}
