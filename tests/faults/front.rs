//! What stands between clients and the replicas of ingest on Kubernetes: a Service.
//!
//! As kube-proxy does, it picks an endpoint for each connection and passes bytes on, knowing nothing of HTTP: a connection stays with
//! its replica until one of both closes it. As the kubelet does, it asks every replica again and again whether it is ready; one that
//! is not gets no more connections, from the next look on.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::form::until;

/// Between two looks at the readiness of the replicas: half of what ingest leaves for it to be noticed (`ingest.stop_delay`).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A Service. Dropped, it ends and cuts every connection.
pub(crate) struct Front {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// Ports of the replicas that there are.
    replicas: Mutex<Vec<u16>>,
    /// Ports of those that were ready at the last look.
    endpoints: Mutex<Vec<u16>>,
    connections: AtomicUsize,
}

impl Front {
    /// Listens, with no replica yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).look());
        tasks.spawn(Arc::clone(&shared).accept(listener));
        Self { port, shared, _tasks: tasks }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A replica that listens on `port`; returns when it gets connections.
    pub(crate) async fn admit(&self, port: u16) {
        self.shared.replicas.lock().unwrap().push(port);
        until(&format!("an endpoint at port {port}"), async || {
            self.shared.endpoints.lock().unwrap().contains(&port).then_some(())
        })
        .await;
    }

    /// A replica that is gone.
    pub(crate) fn forget(&self, port: u16) {
        self.shared.replicas.lock().unwrap().retain(|known| *known != port);
    }
}

impl Shared {
    async fn look(self: Arc<Self>) {
        let client = Client::builder().timeout(LOOK_EVERY).build().unwrap();
        loop {
            let replicas = self.replicas.lock().unwrap().clone();
            let mut ready = Vec::new();
            for port in replicas {
                let asked = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
                if asked.is_ok_and(|answer| answer.status().is_success()) {
                    ready.push(port);
                }
            }
            *self.endpoints.lock().unwrap() = ready;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _address) = listener.accept().await.unwrap();
            let Some(port) = self.pick() else { continue };
            connections.spawn(async move {
                // One that breaks does so for the client as well, who counts it.
                let Ok(mut replica) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                    return;
                };
                drop(copy_bidirectional(&mut client, &mut replica).await);
            });
        }
    }

    /// The endpoints in turn.
    fn pick(&self) -> Option<u16> {
        let endpoints = self.endpoints.lock().unwrap();
        let turn = self.connections.fetch_add(1, Ordering::Relaxed);
        endpoints.get(turn.checked_rem(endpoints.len())?).copied()
    }
}
