//! What the traits promise, checked on the memory twin and on Kafka alike.
