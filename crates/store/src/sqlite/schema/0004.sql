-- Windows of verdicts that were judged for drift. Times are RFC 3339 with nine decimals, so that text order is time order.
CREATE TABLE judged_windows (
    model_name         TEXT    NOT NULL,
    model_version      TEXT    NOT NULL,
    model_digest       TEXT    NOT NULL,
    window             INTEGER NOT NULL,  -- which one of this version
    first_at           TEXT    NOT NULL,  -- when its first review was written,
    last_at            TEXT    NOT NULL,  -- and its last
    n                  INTEGER NOT NULL,  -- its verdicts
    alerting           TEXT    NOT NULL,  -- JSON: the signals that alert after it
    estimated_accuracy REAL,
    realised_accuracy  REAL,              -- null without labels
    judged_at          TEXT    NOT NULL,  -- of two judgements of one window the later stays
    judgement          TEXT    NOT NULL,  -- all of it, in JSON
    PRIMARY KEY (model_digest, window, last_at)
) STRICT;

CREATE INDEX judged_windows_by_time ON judged_windows (last_at);
