//! The brokers that the suites run against.

use std::{
    env, process,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use broker::kafka::{KafkaSettings, TopicSpec, ensure_topics};
use embedded_kafka::{EmbeddedKafka, Settings};

/// Names `host:port` of a Kafka to run against as well.
const OUTSIDE: &str = "VERDICT_TEST_KAFKA";

/// `host:port` of the embedded broker of this test binary. It is started at the first call and dies with the process.
pub(crate) fn embedded() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(start_embedded)
}

/// `host:port` of the broker outside, if there is one; says that a test is skipped if there is none.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a test has no settings file")]
pub(crate) fn outside() -> Option<String> {
    let address = env::var(OUTSIDE).ok();
    if address.is_none() {
        println!("skipped: {OUTSIDE} names no Kafka");
    }
    address
}

/// A name that nothing on the broker has yet.
pub(crate) fn unused(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let salt: u32 = rand::random();
    format!("{stem}-{}-{salt:08x}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes a topic with an unused name.
pub(crate) fn topic(settings: &KafkaSettings, stem: &str, partitions: u16) -> String {
    let name = unused(stem);
    let mut spec = TopicSpec::new(&name, partitions);
    // Records of the checks bear timestamps of long ago; Kafka's default is to delete such within minutes.
    spec.config.insert("retention.ms".to_owned(), "-1".to_owned());
    let specs = [spec];
    block_on(ensure_topics(settings, &specs, Duration::from_secs(20))).unwrap();
    name
}

/// Waits for a future on a thread without a runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The broker lives on a thread of its own, with a runtime of its own, for as long as the process.
fn start_embedded() -> String {
    let (started, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let data = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listen = "127.0.0.1:0".parse().unwrap();
            let broker = EmbeddedKafka::start(Settings::new(data.path(), listen)).await.unwrap();
            started.send(broker.local_addr().to_string()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    address.recv().unwrap()
}

/// Runs futures at once, and returns what they gave, in order.
pub(crate) async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
