"""Quix Streams as its documents advise: a dataframe of one topic, a function applied to each record, a topic.

Guarantee: exactly once from topic to topic, by its own checkpoints of five seconds. It applies functions to one record at a time, so the
model gets one review a call.
"""

import sys

from quixstreams import Application

from scoring import Scorer

servers, group, source, to, bundle, model = sys.argv[1:]
scorer = Scorer(bundle, model)
application = Application(
    broker_address=servers,
    consumer_group=group,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    auto_create_topics=False,
    loglevel="WARNING",
)
reviews = application.topic(source, value_deserializer="json", key_deserializer="bytes")
verdicts = application.topic(to, value_serializer="json", key_serializer="bytes")
application.dataframe(reviews).apply(scorer.one).to_topic(verdicts)
application.run()
