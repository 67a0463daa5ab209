-- One row for each review. Times are RFC 3339 with nine decimals, so that text order is time order.
CREATE TABLE verdicts_by_id (
    id               TEXT    NOT NULL PRIMARY KEY,
    review           TEXT,              -- null where storage of text is off
    review_sha256    TEXT    NOT NULL,
    label            TEXT    NOT NULL,
    confidence       REAL    NOT NULL,
    probabilities    TEXT    NOT NULL,  -- JSON: label to probability
    model_name       TEXT    NOT NULL,
    model_version    TEXT    NOT NULL,
    model_digest     TEXT    NOT NULL,
    tokens           INTEGER NOT NULL,
    truncated        INTEGER NOT NULL,  -- 0 or 1
    source           TEXT,
    language         TEXT,
    metadata         TEXT,              -- JSON
    origin_topic     TEXT,
    origin_partition INTEGER,
    origin_offset    INTEGER,
    occurred_at      TEXT    NOT NULL,
    received_at      TEXT    NOT NULL,
    scored_at        TEXT    NOT NULL,
    queue_ms         REAL    NOT NULL,
    inference_ms     REAL    NOT NULL,
    batch_size       INTEGER NOT NULL,
    trace_id         TEXT,
    schema_version   INTEGER NOT NULL,
    written_at_us    INTEGER NOT NULL,  -- of two verdicts of one review the larger stays,
    digest           TEXT    NOT NULL,  -- then the larger of these
    day              TEXT    NOT NULL GENERATED ALWAYS AS (substr(occurred_at, 1, 10)) VIRTUAL
) STRICT;

CREATE INDEX verdicts_by_source_day ON verdicts_by_id (source, day, occurred_at);

-- Records of the verdicts' topic that could not become rows.
CREATE TABLE refused_records (
    number        INTEGER NOT NULL PRIMARY KEY,
    topic         TEXT    NOT NULL,
    partition     INTEGER NOT NULL,
    "offset"      INTEGER NOT NULL,
    key           BLOB,
    value         BLOB,
    headers       TEXT    NOT NULL,  -- JSON: [{"name", "text" or "hex" or neither for null}]
    timestamp_ms  INTEGER,
    class         TEXT    NOT NULL,
    message       TEXT    NOT NULL,
    refused_at    TEXT    NOT NULL,
    record_digest TEXT    NOT NULL,
    UNIQUE (topic, partition, "offset", record_digest)
) STRICT;
