# The four programs as images: `docker build --target ingest .`, and `processor`, `sink` and `verdict` likewise.
#
# Nothing here needs BuildKit, so any builder will do. `dev/images rehearse` carries the same steps out without one. Bases are pinned by
# digest; what they stand for is in docs/OPERATING.md.

FROM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS tools
# make builds librdkafka, whose configure asks for a C++ compiler, too; perl configures OpenSSL. Debian keeps one version of each, so that a pin would break with its next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked cargo-chef@0.1.78 cargo-auditable@0.7.7
# zlib becomes part of the programs: the runtime's base has none.
ENV LIBZ_SYS_STATIC=1
WORKDIR /verdict

FROM tools AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# Dependencies are built from the recipe alone, and so only once for as long as Cargo.lock stays.
FROM tools AS build
COPY --from=plan /verdict/recipe.json recipe.json
RUN cargo chef cook --release --workspace --bins --locked --recipe-path recipe.json
COPY . .
# Each program lists what it is made of in itself: `cargo audit bin` and most scanners read it.
RUN cargo auditable build --release --workspace --bins --locked
RUN mkdir -p /out/data && cp target/release/ingest target/release/processor target/release/sink target/release/verdict /out/

# glibc, libgcc and certificates; no shell, no package tools. Its own user is 65532, named by number so that Kubernetes can tell that it
# is not root.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f AS runtime
USER 65532:65532
LABEL org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE NOTICE /usr/share/doc/verdict/

FROM runtime AS ingest
LABEL org.opencontainers.image.title="verdict-ingest"
COPY deploy/images/ingest.toml /etc/verdict/ingest.toml
COPY --from=build /out/ingest /usr/local/bin/ingest
ENV VERDICT_CONFIG=/etc/verdict/ingest.toml
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/ingest"]

FROM runtime AS processor
LABEL org.opencontainers.image.title="verdict-processor"
COPY models /models
COPY deploy/images/processor.toml /etc/verdict/processor.toml
COPY --from=build /out/processor /usr/local/bin/processor
ENV VERDICT_CONFIG=/etc/verdict/processor.toml
EXPOSE 9100
ENTRYPOINT ["/usr/local/bin/processor"]

# The bundles are here for their references alone.
FROM runtime AS sink
LABEL org.opencontainers.image.title="verdict-sink"
COPY models /models
COPY deploy/images/sink.toml /etc/verdict/sink.toml
COPY --from=build /out/sink /usr/local/bin/sink
ENV VERDICT_CONFIG=/etc/verdict/sink.toml
EXPOSE 8082
ENTRYPOINT ["/usr/local/bin/sink"]

# Last, and so what `docker build .` makes: the whole line in one process, and the operator's commands.
FROM runtime AS verdict
LABEL org.opencontainers.image.title="verdict"
COPY models /models
COPY deploy/images/verdict.toml /etc/verdict/verdict.toml
COPY --from=build /out/verdict /usr/local/bin/verdict
COPY --from=build --chown=65532:65532 /out/data /data
ENV VERDICT_CONFIG=/etc/verdict/verdict.toml
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/verdict"]
