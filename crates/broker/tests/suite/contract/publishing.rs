//! Records are durable, in the right partition, and unchanged.

use std::collections::BTreeMap;

use broker::{PublishError, RECORD_BYTES_MAX, TailFrom};
use schemas::{Record, record::Header};

use super::cluster::{Cluster, numbered, read};

pub(super) fn records_are_kept_and_keys_stay_together(cluster: &Cluster) {
    let place = |cluster: &Cluster| -> BTreeMap<Vec<u8>, i32> {
        let topic = cluster.topic("keys", 5);
        cluster.fill(&topic, 0..300);
        cluster.fill(&topic, 0..300);
        let seen = read(cluster.tail(&topic, TailFrom::Beginning).as_mut(), 600);
        let places: BTreeMap<Vec<u8>, i32> =
            seen.iter().map(|it| (it.record.key.clone().unwrap(), it.partition)).collect();
        assert!(
            seen.iter()
                .all(|it| places.get(it.record.key.as_ref().unwrap()) == Some(&it.partition))
        );
        places
    };
    let places = place(cluster);
    assert_eq!(places.len(), 300);
    assert_eq!(places, place(&Cluster::memory()), "both twins agree on the partition of every key");
}

pub(super) fn a_record_is_kept_byte_for_byte(cluster: &Cluster) {
    let topic = cluster.topic("bytes", 1);
    for record in awkward() {
        cluster.publish(&topic, record).unwrap();
    }
    let seen = read(cluster.tail(&topic, TailFrom::Beginning).as_mut(), awkward().len());
    let seen: Vec<Record> = seen.into_iter().map(|delivery| delivery.record).collect();
    assert_eq!(seen, awkward());
}

pub(super) fn a_record_of_more_than_a_megabyte_is_refused(cluster: &Cluster) {
    let topic = cluster.topic("large", 1);
    let sized = |bytes| Record { value: Some(vec![7; bytes]), ..Record::default() };
    let refused = cluster.publish(&topic, sized(RECORD_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(refused, PublishError::Refused(_)), "{refused}");
    cluster.publish(&topic, sized(RECORD_BYTES_MAX)).unwrap();
    cluster.publish(&topic, numbered(1)).unwrap();
    assert_eq!(cluster.contents(&topic).len(), 2);
}

/// Nulls, empties, any bytes, headers of one name, and a timestamp.
pub(super) fn awkward() -> Vec<Record> {
    let header = |name: &str, value: Option<&[u8]>| Header {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    let bytes: Vec<u8> = (0..=255).collect();
    let headers = vec![
        header("null", None),
        header("empty", Some(b"")),
        header("twice", Some(b"1")),
        header("twice", Some(&bytes)),
        header("", Some(b"no name")),
    ];
    let at = Some(1_700_000_000_123);
    vec![
        Record { key: None, value: None, headers: Vec::new(), timestamp_ms: at },
        Record {
            key: Some(Vec::new()),
            value: Some(Vec::new()),
            headers: Vec::new(),
            timestamp_ms: at,
        },
        Record { key: Some(bytes.clone()), value: Some(bytes), headers, timestamp_ms: Some(1) },
    ]
}
