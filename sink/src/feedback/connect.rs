//! Joining the group of the feedback loop, where there may be no broker yet.

use broker::kafka::{ConnectError, ExchangeOptions, KafkaExchange, KafkaSettings};
use chassis::health::Check;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Joins the group; `None` where asked to stop before there was a broker. Waits for one that is away as long as it takes, as the
/// reader of verdicts does: the rest of the sink is of use meanwhile. Blocking.
pub fn connect(
    kafka: &KafkaSettings,
    options: &ExchangeOptions,
    check: &Check,
    stop: &CancellationToken,
) -> Result<Option<KafkaExchange>, ConnectError> {
    while !stop.is_cancelled() {
        match KafkaExchange::connect(kafka, options.clone()) {
            Ok(exchange) => return Ok(Some(exchange)),
            // It has tried for seconds already: no pause is needed.
            Err(error @ ConnectError::Unreachable { .. }) => {
                warn!(%error, "the feedback loop is not connected, trying again");
                check.not_ready(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
