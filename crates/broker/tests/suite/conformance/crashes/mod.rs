//! `SIGKILL` of the embedded broker, which then starts again on what it left behind.
//!
//! The broker runs in a child process: this very test binary, told to run the one test below that serves.
//!
//! `VERDICT_TEST_CRASH_SCALE=10` makes the runs ten times as long.

mod acknowledged;
mod exactly_once;

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, process, thread};

use embedded_kafka::{EmbeddedKafka, Settings};
use tempfile::TempDir;

use super::clients::eventually;

const CHILD_DATA: &str = "VERDICT_TEST_CHILD_DATA";
const CHILD_LISTEN: &str = "VERDICT_TEST_CHILD_LISTEN";

/// No test, but what the child process does.
#[test]
fn serves_until_killed_when_told_to() {
    let (Ok(data), Ok(listen)) = (env::var(CHILD_DATA), env::var(CHILD_LISTEN)) else { return };
    // Should the parent die first, its end of the pipe closes.
    thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        process::abort();
    });
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let settings = Settings::new(Path::new(&data), listen.parse().unwrap());
            let _broker = EmbeddedKafka::start(settings).await.unwrap();
            std::future::pending::<()>().await;
        });
}

/// A broker in a process of its own, which dies with this value.
struct Victim {
    data: TempDir,
    address: SocketAddr,
    child: Child,
    kills: usize,
}

impl Victim {
    fn start() -> Victim {
        let data = tempfile::tempdir().unwrap();
        // The same port for every life, as clients know no other.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = spawn(data.path(), address);
        let mut victim = Victim { data, address, child, kills: 0 };
        victim.await_life();
        victim
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    /// `SIGKILL`, and up again.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.kills += 1;
        self.child = spawn(self.data.path(), self.address);
        self.await_life();
    }

    fn await_life(&mut self) {
        eventually("the broker to listen", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "the broker did not start");
            TcpStream::connect(self.address).ok()
        });
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(data: &Path, listen: SocketAddr) -> Child {
    let test = concat!(module_path!(), "::serves_until_killed_when_told_to");
    // Test names begin after the name of the crate.
    let (_, test) = test.split_once("::").unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_DATA, data)
        .env(CHILD_LISTEN, listen.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// How many times as long as usual to go on.
fn scale() -> usize {
    env::var("VERDICT_TEST_CRASH_SCALE").map_or(1, |scale| scale.parse().unwrap())
}
