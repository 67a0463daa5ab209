//! When the certificates that a process was given run out, told long before connections are refused.

use std::{fs, path::PathBuf};

use openssl::{asn1::Asn1Time, error::ErrorStack, x509::X509};
use opentelemetry::{KeyValue, global};
use tracing::warn;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// A file with certificates (PEM) that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// Whom connections are made to: `broker` or `store`.
    pub peer: &'static str,
    /// `own` is shown to the peer, `authority` signs what the peer shows.
    pub role: &'static str,
    /// The file.
    pub path: PathBuf,
}

impl CertificateFile {
    /// Seconds since 1970 at which the first of the certificates in it runs out; or why that is not to be seen.
    pub fn expires_at(&self) -> Result<i64, String> {
        let path = self.path.display();
        let pem = fs::read(&self.path).map_err(|error| format!("{path}: {error}"))?;
        let first = first_to_expire(&pem).map_err(|error| format!("{path}: {error}"))?;
        first.ok_or_else(|| format!("{path}: no certificate (PEM) in it"))
    }
}

/// Tells of `files` from now on, in the gauge `tls.certificate.expiration`. They are read whenever metrics are, so that one that was
/// renewed is seen without a restart; one that cannot be read is not told of, and is logged here once.
pub fn watch(files: impl IntoIterator<Item = CertificateFile>) {
    let files: Vec<_> = files.into_iter().collect();
    for reason in files.iter().filter_map(|file| file.expires_at().err()) {
        warn!(reason, "when this certificate runs out is not to be seen");
    }
    if files.is_empty() {
        return;
    }
    let _registered = global::meter("chassis")
        .i64_observable_gauge("tls.certificate.expiration")
        .with_unit("s")
        .with_description("Seconds since 1970 at which the first certificate of a file runs out.")
        .with_callback(move |observer| {
            for file in &files {
                let Ok(expires_at) = file.expires_at() else { continue };
                let attributes =
                    [KeyValue::new("peer", file.peer), KeyValue::new("role", file.role)];
                observer.observe(expires_at, &attributes);
            }
        })
        .build();
}

fn first_to_expire(pem: &[u8]) -> Result<Option<i64>, ErrorStack> {
    let epoch = Asn1Time::from_unix(0)?;
    let mut first = None;
    for certificate in X509::stack_from_pem(pem)? {
        let left = epoch.diff(certificate.not_after())?;
        let expires_at = SECONDS_A_DAY * i64::from(left.days) + i64::from(left.secs);
        first = Some(first.map_or(expires_at, |first: i64| first.min(expires_at)));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/certificates/two.pem");
    /// As `openssl x509 -enddate` has it, of the second one in the file.
    const EXPIRES_AT: i64 = 4_128_416_507;

    fn file(path: impl Into<PathBuf>) -> CertificateFile {
        CertificateFile { peer: "broker", role: "own", path: path.into() }
    }

    #[test]
    fn a_file_runs_out_with_the_first_of_its_certificates() {
        assert_eq!(file(TWO).expires_at(), Ok(EXPIRES_AT));
    }

    #[test]
    fn a_file_without_certificates_is_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        let check = |expected: &str| {
            let error = file(&path).expires_at().unwrap_err();
            assert!(error.contains("a.pem") && error.contains(expected), "{error}");
        };
        check("No such file");
        fs::write(&path, "no certificate").unwrap();
        check("no certificate (PEM)");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&path, broken).unwrap();
        check("asn1");
    }
}
