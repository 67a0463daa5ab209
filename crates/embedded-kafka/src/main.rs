//! The broker as a process of its own: `embedded-kafka --data DIR --listen ADDR`.

fn main() {}
