//! What Kubernetes does to the line, done to its processes under load: more and fewer replicas, an upgrade from the build before and
//! a rollback to it, a node that is drained, a pod that hangs and is killed after its grace.
//!
//! Clients come in over HTTP by way of a Service (`front`) and insist where they are answered 503; other reviews come over Kafka
//! meanwhile. The build before is the one whose binaries are in `VERDICT_TEST_PREVIOUS`; without it this build takes its own place, so
//! that the sequences are proven and the compatibility is not. `dev/prove rollout --from REVISION` builds it.

use std::{
    mem,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join3;
use schemas::topics;

use crate::{
    checker::{self, Check},
    clients::Clients,
    feed::{self, Feed, Plan},
    form::{until, variable},
    front::Front,
    proof::{Proof, SINK_GROUP, caught_up, settled, terminate},
    replica::{Ending, Replica, Service},
    report::Report,
    rows,
    servers::Cluster,
    stream::Stream,
};

/// Replicas of each service, and of the processor while it is scaled up.
const REPLICAS: usize = 2;
const PROCESSORS_MAX: usize = 4;

/// Reviews a second over Kafka.
const RATE: u64 = 150;

/// Clients over HTTP, and how often each posts at most.
const CLIENTS: usize = 16;
const EVERY: Duration = Duration::from_millis(50);

/// Verdicts that must come after each step, so that the next one finds the line at work.
const VERDICTS_BETWEEN: u64 = 300;

/// The shortest that the manifests allow (`terminationGracePeriodSeconds`, of the sink), and what a pod gets that hangs, so that the
/// proof need not wait.
const GRACE: Duration = Duration::from_secs(40);
const GRACE_OF_HUNG: Duration = Duration::from_secs(5);

/// The line as its supervisor sees it.
struct Line<'a> {
    proof: &'a Proof,
    kafka: &'a Cluster,
    url: &'a str,
    stream: &'a Stream,
    front: &'a Front,
    ingests: Vec<Replica>,
    processors: Vec<Replica>,
    sinks: Vec<Replica>,
    /// Replicas of ingest that there were.
    ingests_made: usize,
    endings: Vec<Ending>,
    steps: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollout_costs_no_review_and_no_client_an_error() {
    let proof = Proof::begin("rollout").await;
    let previous = variable("VERDICT_TEST_PREVIOUS").filter(|it| !it.is_empty()).map(PathBuf::from);
    let before = previous.as_deref();
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let cassandra = Cluster::cassandra(proof.folder());
    let url = format!("cql://{}/verdict", cassandra.address());
    rows::migrate(&url, before).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let front = Front::start().await;
    let mut line = Line::start(&proof, &kafka, &url, &stream, &front, before).await;
    let clients = Clients::insist(&front.url("/analyze"), CLIENTS, EVERY);
    let feed = Feed::start(&settings, Plan::good(0, RATE));
    until("promises over HTTP", async || (CLIENTS < clients.promises()).then_some(())).await;
    stream.mark();

    for _round in 0..proof.form.pick(1, 10) {
        line.scale(before).await;
        line.upgrade().await;
        line.drain().await;
        line.replace_hung().await;
        line.roll_back(before).await;
    }

    let promised = clients.stop().await;
    let fed = feed.enough().await;
    let stall = stream.stall();
    caught_up(&settings, &stream, &mut line.processors).await;
    settled(&settings, SINK_GROUP, topics::VERDICTS, &mut line.sinks[0]).await;
    let Line { mut ingests, mut processors, mut sinks, endings, steps, .. } = line;
    for replicas in [&mut ingests, &mut processors, &mut sinks] {
        terminate(replicas).await;
    }

    let missing = feed::missing(&settings, fed.records).await;
    let aborted = promised.not_in_topic(&settings).await;
    let check = Check { store: Some(&url), acknowledged: &promised.ids, ..Check::default() };
    let counts = checker::run(&proof, &kafka, check).await;
    let own_exits = [&ingests, &processors, &sinks].map(|it| it.iter().map(|it| it.exits).sum());
    let longest = endings.iter().filter(|it| !it.is_killed).map(|it| it.took).max();
    Report::of(&proof)
        .with("previous_build", if before.is_some() { "another" } else { "the same" })
        .faults("steps", steps)
        .with("replicas_ended", endings.len())
        .with("killed_after_grace", endings.iter().filter(|it| it.is_killed).count())
        .seconds("longest_drain_s", longest.unwrap_or_default())
        .with("records", fed.records)
        .with("promised", promised.ids.len())
        .with("judged", promised.verdicts.len())
        .with("judged_by_nothing", aborted)
        .with("put_off", promised.refused)
        .with("broken", promised.broken)
        .with("errors", promised.errors.len())
        .with("acknowledged_missing", missing)
        .counts(&counts)
        .stall(stall)
        .with("own_exits", own_exits.iter().sum::<usize>())
        .print();
    assert_eq!(missing, 0, "acknowledged reviews that are not in the topic");
    assert_eq!(counts.of("unacknowledged"), 0, "promised and not in the topic: {counts:?}");
    assert_eq!(aborted, 0, "answered with verdicts that are not in the topic");
    assert!(promised.errors.is_empty(), "answered otherwise than 503: {:?}", promised.errors);
    assert_eq!(promised.broken, 0, "requests that were not answered");
    counts.assert_exact();
    counts.assert_stored();
}

impl<'a> Line<'a> {
    async fn start(
        proof: &'a Proof,
        kafka: &'a Cluster,
        url: &'a str,
        stream: &'a Stream,
        front: &'a Front,
        build: Option<&Path>,
    ) -> Self {
        let (ingests, steps, ingests_made, endings) = (Vec::new(), 0, 0, Vec::new());
        let processors = (0..REPLICAS).map(|number| proof.processor(kafka, number)).collect();
        let sinks = (0..REPLICAS).map(|number| proof.sink_of(kafka, url, number)).collect();
        let mut line = Self {
            proof,
            kafka,
            url,
            stream,
            front,
            ingests,
            processors,
            sinks,
            ingests_made,
            endings,
            steps,
        };
        for replica in line.processors.iter_mut().chain(&mut line.sinks) {
            begin(replica, build).await;
        }
        for _replica in 0..REPLICAS {
            line.add_ingest(build).await;
        }
        line
    }

    /// One more replica of ingest, which gets connections when this returns.
    async fn add_ingest(&mut self, build: Option<&Path>) {
        let number = self.ingests_made;
        self.ingests_made += 1;
        let settings = [("store.url", self.url)];
        let mut ingest = self.proof.replica(Service::Ingest, self.kafka, number, &settings);
        begin(&mut ingest, build).await;
        self.front.admit(ingest.port()).await;
        self.ingests.push(ingest);
    }

    /// A replica of ingest ends. Its endpoint goes when the Service sees that it is not ready, and not before.
    async fn end_oldest_ingest(&mut self) {
        let mut ingest = self.ingests.remove(0);
        self.endings.push(ingest.end(GRACE).await);
        self.front.forget(ingest.port());
    }

    /// The HPA: processors come, one after the other, and go again, the last one first.
    async fn scale(&mut self, build: Option<&Path>) {
        for number in self.processors.len()..PROCESSORS_MAX {
            let mut processor = self.proof.processor(self.kafka, number);
            begin(&mut processor, build).await;
            self.processors.push(processor);
            self.at_work().await;
        }
        while REPLICAS < self.processors.len() {
            let Some(mut processor) = self.processors.pop() else { break };
            self.endings.push(processor.end(GRACE).await);
            self.at_work().await;
        }
    }

    /// To this build, readers before writers: tables, sink, processor, ingest.
    async fn upgrade(&mut self) {
        rows::migrate(self.url, None).await;
        self.replace_sinks(None).await;
        self.replace_processors(None).await;
        self.replace_ingests(None).await;
    }

    /// Back, in the other order; the tables stay as they are.
    async fn roll_back(&mut self, build: Option<&Path>) {
        self.replace_ingests(build).await;
        self.replace_processors(build).await;
        self.replace_sinks(build).await;
    }

    /// As a Deployment does with `maxSurge: 1, maxUnavailable: 0`: a new one is ready before an old one goes.
    async fn replace_ingests(&mut self, build: Option<&Path>) {
        for _replica in 0..REPLICAS {
            self.add_ingest(build).await;
            self.end_oldest_ingest().await;
            self.at_work().await;
        }
    }

    /// As a `StatefulSet` does: the last one first, under the name that it had.
    async fn replace_processors(&mut self, build: Option<&Path>) {
        let mut processors = mem::take(&mut self.processors);
        self.replace(&mut processors, build).await;
        self.processors = processors;
    }

    async fn replace_sinks(&mut self, build: Option<&Path>) {
        let mut sinks = mem::take(&mut self.sinks);
        self.replace(&mut sinks, build).await;
        self.sinks = sinks;
    }

    async fn replace(&mut self, replicas: &mut [Replica], build: Option<&Path>) {
        for replica in replicas.iter_mut().rev() {
            self.endings.push(replica.end(GRACE).await);
            begin(replica, build).await;
            self.at_work().await;
        }
    }

    /// A node goes with one replica of each service, as many as the disruption budgets allow at once; they come again elsewhere.
    async fn drain(&mut self) {
        let mut ingest = self.ingests.remove(0);
        let [processor, sink] = [&mut self.processors[0], &mut self.sinks[0]];
        let (a, b, c) = join3(ingest.end(GRACE), processor.end(GRACE), sink.end(GRACE)).await;
        self.endings.extend([a, b, c]);
        self.front.forget(ingest.port());
        begin(&mut self.processors[0], None).await;
        begin(&mut self.sinks[0], None).await;
        self.add_ingest(None).await;
        self.at_work().await;
    }

    /// Pods that hang: SIGTERM does not reach them, and after their grace they are killed. Not one of ingest, whose requests would be
    /// cut off: a client has to come again by itself then.
    async fn replace_hung(&mut self) {
        let [processor, sink] = [&mut self.processors[1], &mut self.sinks[1]];
        for replica in [processor, sink] {
            replica.freeze();
            self.endings.push(replica.end(GRACE_OF_HUNG).await);
            begin(replica, None).await;
        }
        self.at_work().await;
    }

    /// Waits until verdicts come after a step.
    async fn at_work(&mut self) {
        self.steps += 1;
        let goal = self.stream.records() + VERDICTS_BETWEEN;
        until("verdicts after a step", async || {
            let replicas = self.ingests.iter_mut().chain(&mut self.processors);
            replicas.chain(&mut self.sinks).for_each(Replica::tend);
            (goal <= self.stream.records()).then_some(())
        })
        .await;
    }
}

/// Starts a replica from `build` and waits until it is ready.
async fn begin(replica: &mut Replica, build: Option<&Path>) {
    replica.set_build(build);
    replica.start();
    replica.ready().await;
}
