"""Confluent's Python client as its documents advise for exactly once, with batches of like length for the model.

Guarantee: exactly once from topic to topic. Verdicts and offsets are one transaction; a round that is aborted is read again.
"""

import json
import signal
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from scoring import Scorer, encode

# As the processor has them by default.
RECORDS_MAX = 1024
GATHER_SECONDS = 0.025

servers, group, source, to, bundle, model = sys.argv[1:]
scorer = Scorer(bundle, model)
consumer = Consumer({
    "bootstrap.servers": servers,
    "group.id": group,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
})
producer = Producer({"bootstrap.servers": servers, "transactional.id": group, "linger.ms": 5, "compression.type": "lz4"})
producer.init_transactions()
consumer.subscribe([source])
stopped = False


def stop(*_):
    global stopped
    stopped = True


def rewind():
    """To what is committed: the round that was aborted is read again."""
    for partition in consumer.committed(consumer.assignment()):
        offset = partition.offset if 0 <= partition.offset else 0
        consumer.seek(TopicPartition(partition.topic, partition.partition, offset))


signal.signal(signal.SIGTERM, stop)
while not stopped:
    records = [record for record in consumer.consume(RECORDS_MAX, GATHER_SECONDS) if not record.error()]
    if not records:
        continue
    verdicts = scorer.many([json.loads(record.value()) for record in records])
    producer.begin_transaction()
    try:
        for record, verdict in zip(records, verdicts):
            producer.produce(to, key=record.key(), value=encode(verdict))
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
        producer.commit_transaction()
    except KafkaException as error:
        if not error.args[0].txn_requires_abort():
            raise
        producer.abort_transaction()
        rewind()
consumer.close()
