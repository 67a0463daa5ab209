//! Points at which a test lets this process die, as by `kill -9`: what is left behind then is what exactly-once has to survive.
//!
//! A fault is armed from outside by `VERDICT_TEST_FAULT=NAME:N`: the process kills itself at the N-th passage of the point NAME.
//! With `NAME:N:stop` it stops itself instead (SIGSTOP), until somebody continues it: a zombie that holds what it held.
//! The points are compiled into every build, so that the build that was tested is the one that is shipped; a point that is not
//! armed costs one atomic load.

use std::{
    env, process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};

/// The variable that arms a fault.
const VARIABLE: &str = "VERDICT_TEST_FAULT";

/// Longest that [`point_soon`] lets the process live on, in microseconds.
const SOON_MAX_US: u64 = 3_000;

/// A fault to come.
#[derive(Debug)]
struct Armed {
    name: String,
    /// Passages up to and with the deadly one.
    passages_left: AtomicU64,
    /// SIGKILL, or SIGSTOP.
    signal: Signal,
}

/// Kills this process, if the fault of this name is armed and its passage has come.
pub fn point(name: &str) {
    point_after(name, || ());
}

/// As [`point`], with something done before death: what has to be on its way, for instance, is waited for.
pub fn point_after(name: &str, before: impl FnOnce()) {
    if let Some(signal) = due(name) {
        before();
        meet(signal);
    }
}

/// As [`point`], but death comes 0 to 3 ms later, from another thread: in the midst of the call that follows.
pub fn point_soon(name: &str) {
    if let Some(signal) = due(name) {
        let left = Duration::from_micros(rand::random_range(0..=SOON_MAX_US));
        thread::spawn(move || {
            thread::sleep(left);
            meet(signal);
        });
    }
}

/// The signal of the fault of this name, if its passage has come.
fn due(name: &str) -> Option<Signal> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED.get_or_init(armed).as_ref().filter(|armed| armed.passes(name)).map(|armed| armed.signal)
}

fn armed() -> Option<Armed> {
    let text = env::var_os(VARIABLE)?.to_string_lossy().into_owned();
    let armed = Armed::parse(&text);
    if armed.is_some() {
        tracing::warn!(fault = text, "armed to die, as a test asked");
    } else {
        tracing::error!(fault = text, "{VARIABLE} is not NAME:N[:stop]; nothing is armed");
    }
    armed
}

impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        let (passages, signal) = match rest.strip_suffix(":stop") {
            Some(passages) => (passages, Signal::STOP),
            None => (rest, Signal::KILL),
        };
        let passages: u64 = passages.parse().ok().filter(|passages| 0 < *passages)?;
        Some(Self { name: name.to_owned(), passages_left: AtomicU64::new(passages), signal })
    }

    /// Counts a passage. Whether it is the deadly one.
    fn passes(&self, name: &str) -> bool {
        self.name == name && self.passages_left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Nothing is flushed, nothing is dropped, nobody is told. Returns if the process was stopped and has been continued.
fn meet(signal: Signal) {
    let sent = kill_process(getpid(), signal);
    if signal != Signal::STOP {
        // Not reached, unless the system forbids a process its own death.
        tracing::error!(?sent, "alive after its own kill");
        process::abort()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;

    #[test]
    fn what_is_not_a_name_and_a_number_arms_nothing() {
        for text in
            ["", "after_poll", "after_poll:", "after_poll:x", "after_poll:0", "a:1:2", "a:stop"]
        {
            assert!(Armed::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_fault_kills_unless_it_is_to_stop() {
        for (text, signal) in [("here:3", Signal::KILL), ("here:3:stop", Signal::STOP)] {
            assert_eq!(Armed::parse(text).map(|armed| armed.signal), Some(signal), "{text}");
        }
    }

    #[test]
    fn only_the_passage_that_was_named_is_deadly() {
        let armed = Armed::parse("here:3").unwrap();
        let passages = ["here", "there", "here", "there", "here", "here", "there"];
        let deadly: Vec<usize> = passages
            .iter()
            .enumerate()
            .filter(|(_, name)| armed.passes(name))
            .map(|it| it.0)
            .collect();
        assert_eq!(deadly, [4]);
    }

    /// Runs this test once more in a process of its own, where the fault is armed, and sees it die.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "the test reads what the process printed")]
    fn check(test: &str, pass: fn(&str), passages_expected: Option<usize>) {
        if env::var_os(VARIABLE).is_some() {
            for passage in 1..=3 {
                println!("passage {passage}");
                pass("here");
            }
            // Death that comes soon, comes before this.
            thread::sleep(Duration::from_mins(1));
            return;
        }
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("fault::tests::{test}"), "--nocapture"])
            .env(VARIABLE, "here:2")
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{output:?}");
        let passages = String::from_utf8(output.stdout).unwrap().matches("passage").count();
        if let Some(expected) = passages_expected {
            assert_eq!(passages, expected);
        }
    }

    #[test]
    fn the_process_dies_at_the_point() {
        check("the_process_dies_at_the_point", point, Some(2));
    }

    #[test]
    fn the_process_dies_soon_after_the_point() {
        check("the_process_dies_soon_after_the_point", point_soon, None);
    }
}
