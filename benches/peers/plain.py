"""The loop of a first afternoon: poll one record, score it, produce, poll the next; offsets are committed by a timer.

Guarantee: none. A crash may lose what was committed and not yet produced, and doubles what was produced and not yet committed.
"""

import json
import signal
import sys

from confluent_kafka import Consumer, Producer

from scoring import Scorer, encode

servers, group, source, to, bundle, model = sys.argv[1:]
scorer = Scorer(bundle, model)
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest"})
producer = Producer({"bootstrap.servers": servers})
consumer.subscribe([source])
stopped = False


def stop(*_):
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
while not stopped:
    record = consumer.poll(0.2)
    if record is None or record.error():
        continue
    producer.produce(to, key=record.key(), value=encode(scorer.one(json.loads(record.value()))))
    producer.poll(0)
producer.flush()
consumer.close()
