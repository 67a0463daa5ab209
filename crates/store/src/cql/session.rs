//! A session with the cluster: addresses, credentials, encryption, and how patient it is.

use std::{path::Path, sync::Arc, time::Duration};

use openssl::{
    error::ErrorStack,
    ssl::{SslConnector, SslFiletype, SslMethod},
    x509::{X509, store::X509StoreBuilder},
};
use scylla::{
    client::{
        execution_profile::ExecutionProfile,
        session::{OpenSsl010Config, Session},
        session_builder::SessionBuilder,
    },
    policies::retry::FallthroughRetryPolicy,
    statement::Consistency,
};

use super::{address::Address, trouble};
use crate::{ConnectError, StoreSettings, settings::StoreTls};

/// How often an idle connection is asked for a sign of life, and how long that may take: a server that hangs is noticed soon.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How often the driver looks for nodes that came or went, beyond what it is told by them.
const REFRESH: Duration = Duration::from_secs(15);

/// Where systems keep the certificates that they trust; the OpenSSL that is built in looks elsewhere.
const SYSTEM_CA: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Connects, without a keyspace. `wait_max` is for one request.
pub(super) async fn open(
    settings: &StoreSettings,
    address: &Address,
    wait_max: Duration,
) -> Result<Session, ConnectError> {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(wait_max))
        // Attempts are ours: the driver would repeat what an overloaded cluster has just refused.
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&address.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(settings.connect_wait_max)
        .hostname_resolution_timeout(Some(settings.connect_wait_max))
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .cluster_metadata_refresh_interval(REFRESH)
        .fetch_schema_metadata(false);
    if !settings.username.is_empty() {
        builder = builder.user(&settings.username, settings.password.reveal());
    }
    if !settings.datacenter.is_empty() {
        builder = builder.prefer_datacenter(settings.datacenter.clone());
    }
    if settings.tls.enabled {
        builder = builder.tls_context(Some(tls(&settings.tls)?));
    }
    let session = builder.build().await.map_err(|error| trouble::of_session(&error))?;
    check_datacenter(settings, &session)?;
    Ok(session)
}

/// A datacenter that is not there would leave no node to ask.
fn check_datacenter(settings: &StoreSettings, session: &Session) -> Result<(), ConnectError> {
    if settings.datacenter.is_empty() {
        return Ok(());
    }
    let cluster = session.get_cluster_state();
    let mut known: Vec<_> =
        cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&settings.datacenter) {
        return Ok(());
    }
    Err(ConnectError::Unusable(format!(
        "no node is in the datacenter `{}` of `store.datacenter`; there are: {}",
        settings.datacenter,
        known.join(", ")
    )))
}

/// The server's certificate is checked against `ca` and against the node's IP address.
fn tls(settings: &StoreTls) -> Result<OpenSsl010Config, ConnectError> {
    let wrong = |what: &str, path: &Path, error: &dyn std::error::Error| {
        ConnectError::Unusable(format!("`store.tls.{what}`: {}: {error}", path.display()))
    };
    let broken = |error: ErrorStack| ConnectError::Unusable(format!("setting up TLS: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(broken)?;
    if settings.ca.as_os_str().is_empty() {
        if let Some(system) = SYSTEM_CA.iter().find(|path| Path::new(path).exists()) {
            builder.set_ca_file(system).map_err(broken)?;
        }
    } else {
        let path = &settings.ca;
        let pem = std::fs::read(path).map_err(|error| wrong("ca", path, &error))?;
        let certificates = X509::stack_from_pem(&pem).map_err(|error| wrong("ca", path, &error))?;
        if certificates.is_empty() {
            let message = format!("`store.tls.ca`: {} has no certificate", path.display());
            return Err(ConnectError::Unusable(message));
        }
        // These and no others: whoever names an authority does not mean all that the system trusts.
        let mut trusted = X509StoreBuilder::new().map_err(broken)?;
        for certificate in certificates {
            trusted.add_cert(certificate).map_err(broken)?;
        }
        builder.set_cert_store(trusted.build());
    }
    if !settings.certificate.as_os_str().is_empty() {
        let path = &settings.certificate;
        builder
            .set_certificate_chain_file(path)
            .map_err(|error| wrong("certificate", path, &error))?;
        let key = &settings.key;
        builder
            .set_private_key_file(key, SslFiletype::PEM)
            .and_then(|()| builder.check_private_key())
            .map_err(|error| wrong("key", key, &error))?;
    }
    Ok(OpenSsl010Config::new(builder))
}
