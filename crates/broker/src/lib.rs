//! Reading and writing Kafka: publish, exchange, subscribe.
