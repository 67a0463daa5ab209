//! What the machine is called; in Kubernetes, that is the name of the pod.

use std::{env, fs};

/// Where the system tells it, inside of a container, too.
const FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// The machine has no name that it would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine tells no host name")]
pub struct Nameless;

/// The machine's name.
pub fn hostname() -> Result<String, Nameless> {
    let told = FILES.iter().filter_map(|file| fs::read_to_string(file).ok());
    let variable = env::var_os("HOSTNAME").map(|name| name.to_string_lossy().into_owned());
    first_name(told.chain(variable)).ok_or(Nameless)
}

/// The first that is one. `(none)` is what Linux says before anybody gave it a name.
fn first_name(told: impl Iterator<Item = String>) -> Option<String> {
    told.map(|name| name.trim().to_owned()).find(|name| !name.is_empty() && name != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_one_is_taken() {
        let check = |told: &[&str], expected: Option<&str>| {
            let told = told.iter().map(|name| (*name).to_owned());
            assert_eq!(first_name(told).as_deref(), expected);
        };
        check(&["processor-1\n", "other"], Some("processor-1"));
        check(&["\n", "(none)\n", "other"], Some("other"));
        check(&[" ", "(none)"], None);
        check(&[], None);
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(!hostname().unwrap().is_empty());
    }
}
