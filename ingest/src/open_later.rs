//! A subscription that is opened when it is read, and again when it has become unusable: so ingest starts, and says that it is
//! not ready, before the broker is there.

use std::{fmt, time::Duration};

use broker::{Delivery, Progress, Subscribe, SubscribeError};

/// The subscription that `open` opens, sooner or later.
pub struct OpenLater<O, S> {
    open: O,
    opened: Option<S>,
}

impl<O, S, E> OpenLater<O, S>
where
    O: FnMut() -> Result<S, E>,
{
    /// Not open yet. `open` may block; it is called on the thread that reads.
    pub fn new(open: O) -> Self {
        Self { open, opened: None }
    }
}

impl<O, S, E> Subscribe for OpenLater<O, S>
where
    O: FnMut() -> Result<S, E> + Send,
    S: Subscribe,
    E: fmt::Display,
{
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        let subscription = match &mut self.opened {
            Some(subscription) => subscription,
            closed => {
                let opened = (self.open)();
                let opened =
                    opened.map_err(|error| SubscribeError::Unavailable(error.to_string()))?;
                closed.insert(opened)
            }
        };
        let polled = subscription.poll(max, wait);
        if let Err(SubscribeError::Fatal(reason)) = polled {
            self.opened = None;
            return Err(SubscribeError::Unavailable(reason));
        }
        polled
    }

    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        match &mut self.opened {
            Some(subscription) => subscription.keep_alive(),
            None => Ok(()),
        }
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        self.opened.as_mut().map_or(Ok(()), |subscription| subscription.commit(progress))
    }

    fn is_assigned(&self) -> bool {
        self.opened.as_ref().is_some_and(Subscribe::is_assigned)
    }
}

impl<O, S> fmt::Debug for OpenLater<O, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpenLater")
            .field("is_open", &self.opened.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at its second poll.
    struct Once(bool);

    impl Subscribe for Once {
        fn keep_alive(&mut self) -> Result<(), SubscribeError> {
            Ok(())
        }

        fn poll(&mut self, _: usize, _: Duration) -> Result<Vec<Delivery>, SubscribeError> {
            if std::mem::replace(&mut self.0, true) {
                return Err(SubscribeError::Fatal("gone".to_owned()));
            }
            Ok(Vec::new())
        }

        fn commit(&mut self, _: &Progress) -> Result<(), SubscribeError> {
            Ok(())
        }

        fn is_assigned(&self) -> bool {
            true
        }
    }

    #[test]
    fn it_is_opened_again_until_it_is_and_after_it_was() {
        let mut answers = [Err("away"), Ok(Once(false)), Ok(Once(false))].into_iter();
        let mut subscription = OpenLater::new(|| answers.next().unwrap_or(Err("no more")));
        let mut polled = Vec::new();
        for _ in 0..5 {
            let said = match subscription.poll(1, Duration::ZERO) {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.to_string(),
            };
            polled.push((said, subscription.is_assigned()));
        }
        let polled: Vec<_> = polled.iter().map(|(said, open)| (said.as_str(), *open)).collect();
        let expected = [
            ("broker unavailable: away", false),
            ("ok", true),
            ("broker unavailable: gone", false),
            ("ok", true),
            ("broker unavailable: gone", false),
        ];
        assert_eq!(polled, expected);
    }
}
