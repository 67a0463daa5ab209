//! All that is asked of the tables, prepared once.

use scylla::{client::session::Session, statement::prepared::PreparedStatement};

use super::trouble;
use crate::StoreError;

const UPSERT: &str = "
    INSERT INTO verdicts_by_id (
        id, verdict, written_at_us, review, review_sha256, label, confidence, probabilities, model_name, model_version,
        model_digest, tokens, truncated, source, language, metadata, origin_topic, origin_partition, origin_offset,
        occurred_at, received_at, scored_at, queue_ms, inference_ms, batch_size, trace_id, schema_version
    ) VALUES (
        :id, :verdict, :written_at_us, :review, :review_sha256, :label, :confidence, :probabilities, :model_name,
        :model_version, :model_digest, :tokens, :truncated, :source, :language, :metadata, :origin_topic,
        :origin_partition, :origin_offset, :occurred_at, :received_at, :scored_at, :queue_ms, :inference_ms, :batch_size,
        :trace_id, :schema_version
    ) USING TIMESTAMP :written AND TTL :ttl";

const LIST: &str = "
    INSERT INTO verdicts_by_source_day (
        source, day, bucket, occurred_at, id, label, confidence, model_name, model_version
    ) VALUES (:source, :day, :bucket, :occurred_at, :id, :label, :confidence, :model_name, :model_version)
    USING TIMESTAMP :written AND TTL :ttl";

const GET: &str = "SELECT verdict FROM verdicts_by_id WHERE id = ?";

const LISTED: &str = "
    SELECT occurred_at, id FROM verdicts_by_source_day
    WHERE source = ? AND day = ? AND bucket = ? AND (occurred_at, id) > (?, ?) LIMIT ?";

const SCAN: &str = "SELECT verdict, written_at_us FROM verdicts_by_id";

const KEEP_FEEDBACK: &str = "
    INSERT INTO feedback_by_id (
        id, given_at, given_by, label, feedback, origin_topic, origin_partition, origin_offset
    ) VALUES (
        :id, :given_at, :given_by, :label, :feedback, :origin_topic, :origin_partition, :origin_offset
    ) USING TIMESTAMP :written";

const FEEDBACK: &str = "
    SELECT feedback, origin_topic, origin_partition, origin_offset FROM feedback_by_id WHERE id = ?";

const SCAN_FEEDBACK: &str =
    "SELECT feedback, origin_topic, origin_partition, origin_offset FROM feedback_by_id";

const KEEP_REFUSED: &str = r#"
    INSERT INTO refused_records (
        topic, partition, slice, "offset", record_digest, key, value, headers, timestamp_ms, class, message, refused_at
    ) VALUES (
        :topic, :partition, :slice, :offset, :record_digest, :key, :value, :headers, :timestamp_ms, :class, :message,
        :refused_at
    ) USING TIMESTAMP :written AND TTL :ttl"#;

const REFUSED: &str = r#"
    SELECT topic, partition, "offset", key, value, headers, timestamp_ms, class, message, refused_at FROM refused_records"#;

const KEEP_JUDGED: &str = "
    INSERT INTO judged_windows (
        day, last_at, model_digest, window, model_name, model_version, first_at, n, alerting, estimated_accuracy,
        realised_accuracy, judged_at, judgement
    ) VALUES (
        :day, :last_at, :model_digest, :window, :model_name, :model_version, :first_at, :n, :alerting,
        :estimated_accuracy, :realised_accuracy, :judged_at, :judgement
    ) USING TIMESTAMP :written AND TTL :ttl";

const JUDGED: &str = "
    SELECT last_at, model_digest, window, model_name, model_version, first_at, n, alerting, estimated_accuracy,
        realised_accuracy, judged_at, judgement
    FROM judged_windows WHERE day = ? AND last_at >= ? AND last_at < ? LIMIT ?";

/// All that is asked of the tables.
#[derive(Debug)]
pub(super) struct Statements {
    /// Takes [`super::columns::ById`].
    pub(super) upsert: PreparedStatement,
    /// Takes [`super::columns::BySourceDay`].
    pub(super) list: PreparedStatement,
    /// A verdict by id.
    pub(super) get: PreparedStatement,
    /// Time and id of the reviews in one bucket, after a time and id.
    pub(super) listed: PreparedStatement,
    /// Verdict and write time of all rows.
    pub(super) scan: PreparedStatement,
    /// Takes [`super::feedback::Columns`].
    pub(super) keep_feedback: PreparedStatement,
    /// Feedback by review.
    pub(super) feedback: PreparedStatement,
    /// All feedback.
    pub(super) scan_feedback: PreparedStatement,
    /// Takes [`super::refused::Columns`].
    pub(super) keep_refused: PreparedStatement,
    /// All refused records.
    pub(super) refused: PreparedStatement,
    /// Takes [`super::judged::Columns`].
    pub(super) keep_judged: PreparedStatement,
    /// Judged windows of a day, in a span of time, the newest first.
    pub(super) judged: PreparedStatement,
}

impl Statements {
    /// Prepares all of them in the session's keyspace.
    pub(super) async fn prepare(session: &Session) -> Result<Self, StoreError> {
        let prepare = async |text: &str| {
            let prepared = session.prepare(text).await;
            let mut statement = prepared.map_err(|error| trouble::of_prepare(&error))?;
            // Each write carries its own time, so that twice is once.
            statement.set_is_idempotent(true);
            Ok::<_, StoreError>(statement)
        };
        Ok(Self {
            upsert: prepare(UPSERT).await?,
            list: prepare(LIST).await?,
            get: prepare(GET).await?,
            listed: prepare(LISTED).await?,
            scan: prepare(SCAN).await?,
            keep_feedback: prepare(KEEP_FEEDBACK).await?,
            feedback: prepare(FEEDBACK).await?,
            scan_feedback: prepare(SCAN_FEEDBACK).await?,
            keep_refused: prepare(KEEP_REFUSED).await?,
            refused: prepare(REFUSED).await?,
            keep_judged: prepare(KEEP_JUDGED).await?,
            judged: prepare(JUDGED).await?,
        })
    }
}
