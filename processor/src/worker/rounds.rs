//! What is read and not committed yet, and how much of it is one round.

use std::sync::Arc;

use broker::Delivery;

use crate::{
    pipeline::{Pipeline, round::Round, steps::Steps},
    spans::Polled,
};

/// A round from when it was read until it is committed.
pub(super) struct RoundInHand {
    pub(super) number: u64,
    pub(super) deliveries: Vec<Delivery>,
    /// Of each delivery.
    pub(super) steps: Vec<Steps>,
    pub(super) polled: Polled,
    /// The model that it was tokenised for.
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) round: Round,
}

/// Cuts what was read into rounds of about `tokens_max` tokens, in order. The tokens are not known before a record is read, so
/// they are guessed from its size: English takes some four bytes a token.
pub(super) fn split(
    deliveries: Vec<Delivery>,
    tokens_max: usize,
    text_tokens_max: usize,
) -> Vec<Vec<Delivery>> {
    let mut rounds = Vec::new();
    let mut open = Vec::new();
    let mut tokens = 0_usize;
    for delivery in deliveries {
        let bytes = delivery.record.value.as_deref().map_or(0, <[u8]>::len);
        let guess = (bytes / 4).min(text_tokens_max);
        if !open.is_empty() && tokens_max < tokens.saturating_add(guess) {
            rounds.push(std::mem::take(&mut open));
            tokens = 0;
        }
        tokens = tokens.saturating_add(guess);
        open.push(delivery);
    }
    if !open.is_empty() {
        rounds.push(open);
    }
    rounds
}
