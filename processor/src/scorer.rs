//! Reviews in, verdicts out, without a broker: the same pipeline and the same inference threads as the line.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use chassis::clock;
use schemas::{
    IncomingReview, Refusal, Review, ReviewId, ReviewText, Stage, Verdict, review::Place,
};

use crate::{
    lanes::{Inference, LaneSettings, Lanes, Task},
    pipeline::{Batch, Pipeline, records::ScoringOrder, round::Round},
    settings::Settings,
};

/// Most bytes of text in one round: with the rounds in hand, what bounds the memory.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// How long one look at the inference threads lasts. They always answer; the wait has an end all the same.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Judges reviews on all cores.
#[derive(Debug)]
pub struct Scorer {
    pipeline: Arc<Pipeline>,
    lanes: Lanes,
    records_max: usize,
    rounds_max: usize,
    round_next: u64,
    reviews_seen: i64,
    scoring_order: ScoringOrder,
}

/// The verdicts of a stream of reviews, in its order. Reads ahead by a few rounds, no further.
#[derive(Debug)]
pub struct Scored<'a, I> {
    scorer: &'a mut Scorer,
    reviews: I,
    exhausted: bool,
    rounds: VecDeque<(u64, Round)>,
    ready: std::vec::IntoIter<Result<Verdict, Refusal>>,
}

impl Scorer {
    /// Starts the inference threads.
    pub fn start(pipeline: Arc<Pipeline>, settings: &Settings) -> io::Result<Self> {
        let lanes =
            Lanes::start(LaneSettings { threads: settings.threads(), pin: settings.pin_threads })?;
        let records_max = settings.max_round_records.get();
        let rounds_max = settings.rounds_in_hand_max.get();
        Ok(Self {
            pipeline,
            lanes,
            records_max,
            rounds_max,
            round_next: 0,
            reviews_seen: 0,
            scoring_order: ScoringOrder::default(),
        })
    }

    /// The verdict or the refusal of each review, in order. A review without an id gets one from its place in the stream.
    pub fn score<I>(&mut self, reviews: I) -> Scored<'_, I::IntoIter>
    where
        I: IntoIterator<Item = IncomingReview>,
    {
        Scored {
            scorer: self,
            reviews: reviews.into_iter(),
            exhausted: false,
            rounds: VecDeque::new(),
            ready: Vec::new().into_iter(),
        }
    }

    /// The verdict or the refusal of each text, in order.
    pub fn score_texts<'t>(
        &mut self,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Vec<Result<Verdict, Refusal>> {
        let incoming =
            |text: &str| IncomingReview { review: text.to_owned(), ..Default::default() };
        self.score(texts.into_iter().map(incoming)).collect()
    }

    /// The verdict or the refusal of each review, in order. They are one round: nothing is read ahead.
    pub fn judge(
        &mut self,
        reviews: impl IntoIterator<Item = Result<Review, Refusal>>,
    ) -> Vec<Result<Verdict, Refusal>> {
        let (mut round, batches) = self.pipeline.prepare(reviews);
        let number = self.submit(batches);
        while !round.is_complete() {
            let finished = self.lanes.collect(ANSWER_WAIT);
            // Answers to a stream that was dropped half-way may still come.
            if let Some(finished) = finished.filter(|finished| finished.round == number) {
                round.accept(finished.inferred, finished.timing);
            }
        }
        let mut outcomes = self.pipeline.conclude(round);
        self.scoring_order.keep(&mut outcomes);
        outcomes
    }

    /// Hands the batches of one round to the inference threads; the round's number.
    fn submit(&mut self, batches: Vec<Batch>) -> u64 {
        let number = self.round_next;
        self.round_next += 1;
        for batch in batches {
            let pipeline = Arc::clone(&self.pipeline);
            self.lanes.submit(Task { round: number, pipeline, batch });
        }
        number
    }

    fn read(&mut self, incoming: IncomingReview) -> Result<Review, Refusal> {
        let place = Place { topic: "score", partition: 0, offset: self.reviews_seen };
        self.reviews_seen = self.reviews_seen.saturating_add(1);
        let refuse = |class: &'static str, error: &dyn ToString| {
            Refusal::new(Stage::Validate, class, error.to_string())
        };
        let id = match incoming.id {
            Some(id) => ReviewId::new(id).map_err(|error| refuse("InvalidId", &error))?,
            None => ReviewId::of_place(place),
        };
        let text =
            ReviewText::new(&incoming.review).map_err(|error| refuse("InvalidText", &error))?;
        let now = clock::now();
        Ok(Review {
            id,
            text,
            source: incoming.source,
            language: incoming.language,
            occurred_at: incoming.occurred_at.unwrap_or(now),
            received_at: incoming.received_at.unwrap_or(now),
            metadata: incoming.metadata,
        })
    }
}

impl<I: Iterator<Item = IncomingReview>> Scored<'_, I> {
    /// Reads on until enough rounds are in hand.
    fn read_ahead(&mut self) {
        while !self.exhausted && self.rounds.len() < self.scorer.rounds_max {
            let mut reviews = Vec::new();
            let mut bytes = 0_usize;
            while reviews.len() < self.scorer.records_max && bytes < ROUND_BYTES_MAX {
                let Some(incoming) = self.reviews.next() else {
                    self.exhausted = true;
                    break;
                };
                bytes = bytes.saturating_add(incoming.review.len());
                reviews.push(self.scorer.read(incoming));
            }
            if reviews.is_empty() {
                return;
            }
            let (round, batches) = self.scorer.pipeline.prepare(reviews);
            let number = self.scorer.submit(batches);
            self.rounds.push_back((number, round));
        }
    }

    /// Waits until the oldest round is complete, and concludes it.
    fn conclude_oldest(&mut self) -> Option<Vec<Result<Verdict, Refusal>>> {
        loop {
            if self.rounds.front()?.1.is_complete() {
                let (_, round) = self.rounds.pop_front()?;
                return Some(self.scorer.pipeline.conclude(round));
            }
            let Some(finished) = self.scorer.lanes.collect(ANSWER_WAIT) else { continue };
            // Answers to a stream that was dropped half-way find no round.
            let round = self.rounds.iter_mut().find(|(number, _)| *number == finished.round);
            if let Some((_, round)) = round {
                round.accept(finished.inferred, finished.timing);
            }
        }
    }
}

impl<I: Iterator<Item = IncomingReview>> Iterator for Scored<'_, I> {
    type Item = Result<Verdict, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(outcome) = self.ready.next() {
                return Some(outcome);
            }
            self.read_ahead();
            self.ready = self.conclude_oldest()?.into_iter();
        }
    }
}

/// Nobody waits for what is still queued.
impl<I> Drop for Scored<'_, I> {
    fn drop(&mut self) {
        self.scorer.lanes.forget_before(self.scorer.round_next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::pipeline;

    fn scorer() -> Scorer {
        let settings = Settings {
            inference_threads: 3,
            pin_threads: false,
            max_round_records: const { std::num::NonZeroUsize::new(7).unwrap() },
            ..Settings::default()
        };
        Scorer::start(Arc::new(pipeline()), &settings).unwrap()
    }

    #[test]
    fn verdicts_come_in_the_order_of_the_texts_and_refusals_keep_their_places() {
        let texts: Vec<String> = (0..100)
            .map(|n| if n % 10 == 3 { " ".to_owned() } else { "good ".repeat(n % 30 + 1) })
            .collect();
        let outcomes = scorer().score_texts(texts.iter().map(String::as_str));
        assert_eq!(outcomes.len(), texts.len());
        for (outcome, text) in outcomes.iter().zip(&texts) {
            let judged = outcome.as_ref().ok().and_then(|verdict| verdict.review.as_deref());
            assert_eq!(judged.unwrap_or_default(), text.trim());
        }
    }

    #[test]
    fn reading_ahead_is_bounded() {
        let mut scorer = scorer();
        let bound = scorer.rounds_max * scorer.records_max;
        let mut read = 0;
        let endless = std::iter::repeat_with(|| {
            read += 1;
            IncomingReview { review: "good".to_owned(), ..Default::default() }
        });
        assert!(scorer.score(endless).take(1).all(|outcome| outcome.is_ok()));
        assert!(read <= bound, "{read} reviews were read for the first verdict");
    }

    #[test]
    fn a_stream_that_was_dropped_leaves_nothing_behind() {
        let mut scorer = scorer();
        let reviews = |text: &str| {
            let review = IncomingReview { review: text.to_owned(), ..Default::default() };
            std::iter::repeat_n(review, 100)
        };
        drop(scorer.score(reviews("bad")).next());
        let outcomes: Vec<_> = scorer.score(reviews("good")).collect();
        assert_eq!(outcomes.len(), 100);
        assert!(outcomes.iter().flatten().all(|verdict| verdict.review.as_deref() == Some("good")));
    }

    #[test]
    fn a_round_is_judged_as_a_whole_and_in_order() {
        let mut scorer = scorer();
        let review = |text: &str| Ok(crate::pipeline::tests::review(text));
        let refused = || Err(Refusal::new(Stage::Decode, "NotJson", "not JSON"));
        drop(scorer.score(std::iter::repeat_with(IncomingReview::default).take(50)).next());
        let outcomes = scorer.judge([review("good"), refused(), review("bad"), review("good")]);
        let texts: Vec<_> = outcomes.iter().map(|it| it.as_ref().ok()?.review.as_deref()).collect();
        assert_eq!(texts, [Some("good"), None, Some("bad"), Some("good")]);
        assert!(scorer.judge([]).is_empty());
    }
}
