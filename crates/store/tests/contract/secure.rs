//! A server that asks for TLS and a password.

use std::fs;

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    pkey::PKey,
    rsa::Rsa,
    x509::{X509, X509NameBuilder},
};
use store::{ConnectError, Row, StoreSettings, connect, migrate};

use chassis::Secret;

use crate::{
    servers::{Server, shared},
    verdicts::verdict,
};

/// The message of settings with which there is no store.
async fn unusable(settings: &StoreSettings) -> String {
    match connect(settings).await {
        Err(ConnectError::Unusable(message)) => message,
        other => panic!("expected settings that cannot work, found {other:?}"),
    }
}

/// Another authority's certificate, in PEM.
fn stranger() -> Vec<u8> {
    let key = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "somebody else").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate
        .set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap())
        .unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    certificate.build().to_pem().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_password_are_used_and_checked() {
    if shared().is_none() {
        return;
    }
    let server = Server::start(&["--secure"]);
    let read = |name: &str| fs::read_to_string(server.secure(name)).unwrap().trim().to_owned();
    let mut right = server.settings();
    right.tls.enabled = true;
    right.tls.ca = server.secure("ca.pem");
    right.username = read("user");
    right.password = Secret::new(read("password"));

    migrate(&right, None, false).await.unwrap();
    let store = connect(&right).await.unwrap();
    let row = Row::new(verdict("a"));
    store.upsert(std::slice::from_ref(&row)).await.unwrap();
    assert_eq!(store.get(&row.verdict.id).await.unwrap(), Some(row.verdict));

    let wrong = StoreSettings { password: Secret::new("a guess"), ..right.clone() };
    let message = unusable(&wrong).await;
    assert!(message.contains("set `store.username` and `store.password`"), "{message}");
    assert!(!message.contains("a guess"), "{message}");

    let nobody = StoreSettings { username: String::new(), ..right.clone() };
    let message = unusable(&nobody).await;
    assert!(message.contains("set `store.username` and `store.password`"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let mut mistrusting = right.clone();
    mistrusting.tls.ca = folder.path().join("stranger.pem");
    fs::write(&mistrusting.tls.ca, stranger()).unwrap();
    let message = unusable(&mistrusting).await;
    assert!(message.contains("`store.tls.ca`"), "{message}");

    let mut missing = right.clone();
    missing.tls.ca = folder.path().join("missing.pem");
    let message = unusable(&missing).await;
    assert!(message.contains("missing.pem"), "{message}");

    let mut plain = right;
    plain.tls.enabled = false;
    let error = connect(&plain).await.unwrap_err();
    println!("without TLS: {error}");
}
