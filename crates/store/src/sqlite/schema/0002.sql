-- Labels that people gave to reviews after their verdicts; the same feedback is kept once.
CREATE TABLE feedback (
    id       TEXT NOT NULL,  -- of the review
    given_at TEXT NOT NULL,
    given_by TEXT,           -- null where nobody was named
    label    TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX feedback_once ON feedback (id, given_at, coalesce(given_by, ''), label);
