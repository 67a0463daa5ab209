//! What containers ask of the programs: topics made before anything runs, and whether a process is ready.

use std::net::SocketAddr;

use broker::kafka::{KafkaSettings, watermarks};
use embedded_kafka::{EmbeddedKafka, Settings};
use schemas::topics;
use tokio::task::spawn_blocking;

use crate::line::{Line, free_address, verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn topics_are_made_once_and_found_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedKafka::start(Settings::new(folder.path(), ([127, 0, 0, 1], 0).into()));
    let broker = broker.await.unwrap();
    let address = broker.local_addr().to_string();
    for partitions in ["3", "5"] {
        let (address, partitions) = (address.clone(), partitions.to_owned());
        let mut command = verdict();
        command.args(["topics", "--kafka", &address, "--partitions", &partitions]);
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        let expected: Vec<_> = topics::ALL.into_iter().chain(topics::DRIFT).collect();
        assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    }
    // What is there keeps the partitions that it was made with, and the drift line has one in any case.
    let partitions =
        move |topic: &str| watermarks(&KafkaSettings::at(&address), topic).unwrap().len();
    let counts = spawn_blocking(move || [topics::REVIEWS, topics::DRIFT_STATES].map(partitions));
    assert_eq!(counts.await.unwrap(), [3, 1]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_line_says_whether_it_is_ready() {
    let (ready, said) = ask(free_address()).await;
    assert!(!ready);
    assert!(said.contains("/readyz"), "{said}");

    let mut line = Line::start_tiny().await;
    let address = line.url("").strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(ask(address).await, (true, String::new()));
    assert!(line.terminate().success());
    assert!(!ask(address).await.0);
}

/// Whether `verdict ready` ends well, and what it says.
async fn ask(address: SocketAddr) -> (bool, String) {
    let mut command = verdict();
    command.args(["ready", "--http", &address.to_string()]);
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}
