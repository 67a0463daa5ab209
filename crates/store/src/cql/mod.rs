//! Verdicts on a CQL server: `ScyllaDB`, or Cassandra.
//!
//! # Layout
//! - `address`, `session`: from settings to a session; `calls`: so many requests at once, with few attempts each
//! - `schema`: the tables' version; [`migrate`]: making and upgrading them
//! - `statements`: all that is asked; `columns`: a verdict as a row; `refused`, `feedback`, `judged`: likewise
//! - `trouble`: what errors mean to the caller
//!
//! # What it promises beyond the contract, and what not
//! Every write carries the time of its own (`USING TIMESTAMP`), so the server keeps the later scoring in whatever order they
//! come, without reading first. Two verdicts of one review with the same time are told apart by the server, cell by cell: the
//! larger JSON stays, the same in every order, but it may be another than [`Row::outranks`] says, and the columns for people may
//! then be those of either.

pub(crate) mod address;
mod calls;
mod columns;
mod feedback;
mod judged;
pub mod migrate;
mod refused;
mod schema;
mod session;
mod statements;
mod trouble;

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use chassis::clock;
use futures::FutureExt as _;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};
use scylla::{
    response::{PagingState, PagingStateResponse, query_result::QueryResult},
    statement::prepared::PreparedStatement,
    value::CqlTimestamp,
};

use self::{
    address::Address,
    calls::{Calls, rows},
    columns::{BUCKETS, Columns, date, is_listed_at, time},
    refused::Kept,
    statements::Statements,
};
use crate::{
    ConnectError, FeedbackRow, JudgedWindow, Page, PageToken, RefusedRecord, Row, SourceDay,
    StoreError, StoreSettings, VerdictStore, judged as judgements,
    page::{self, Kind},
};

/// Longest life that CQL knows: 20 years.
const TTL_MAX: Duration = Duration::from_hours(20 * 365 * 24);

/// Most reviews of one page of a list, and most rows or refused records of one page of a scan.
const PAGE_MAX: usize = 1_000;

/// Verdicts on a CQL server. Finds the server again by itself after it was away.
#[derive(Debug)]
pub struct CqlStore {
    calls: Calls,
    statements: Statements,
    ttl: Duration,
}

impl CqlStore {
    /// Connects to the tables in the keyspace of `address`, which must be there.
    pub(crate) async fn connect(
        settings: &StoreSettings,
        address: &Address,
    ) -> Result<Self, ConnectError> {
        if TTL_MAX < settings.ttl {
            return Err(ConnectError::Unusable("`store.ttl` is 20 years at most".to_owned()));
        }
        let session = session::open(settings, address, settings.answer_wait_max).await?;
        schema::check(&session, &address.keyspace).await?;
        session
            .use_keyspace(&address.keyspace, true)
            .await
            .map_err(|error| ConnectError::Unavailable(error.to_string()))?;
        let statements = Statements::prepare(&session).await?;
        let calls = Calls::new(session, settings.in_flight_max, settings.answer_wait_max);
        Ok(Self { calls, statements, ttl: settings.ttl })
    }

    /// Seconds that something of `since` has still to live at `now`: 0 for ever, `None` where its time is over. From its own time
    /// on and not from that of writing, so that a replay neither prolongs a life nor brings back what is gone.
    fn ttl(&self, since: Timestamp, now: Timestamp) -> Option<i32> {
        if self.ttl.is_zero() {
            return Some(0);
        }
        let lived = now.duration_since(since).as_secs();
        let left = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX).saturating_sub(lived);
        // A time of scoring in the future does not make it live longer than CQL can say.
        i32::try_from(left.min(TTL_MAX.as_secs().cast_signed())).ok().filter(|left| 0 < *left)
    }

    async fn write(&self, columns: Columns<'_>) -> Result<(), StoreError> {
        let by_id = self.calls.run(&self.statements.upsert, columns.by_id());
        let by_source_day = self.calls.run(&self.statements.list, columns.by_source_day());
        futures::try_join!(by_id, by_source_day)?;
        Ok(())
    }

    /// The verdict behind an entry; an entry whose review was scored anew elsewhere is none.
    async fn get_listed(
        &self,
        day: &SourceDay,
        (occurred_at, id): &(Timestamp, ReviewId),
    ) -> Result<Option<Verdict>, StoreError> {
        Ok(self.get(id).await?.filter(|verdict| is_listed_at(verdict, day, *occurred_at)))
    }

    /// One page of what `statement` reads, and where the next one begins.
    async fn page(
        &self,
        statement: &PreparedStatement,
        kind: Kind,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<(QueryResult, Option<PageToken>), StoreError> {
        let from = match from.map(|token| token.bytes(kind)).transpose()? {
            Some(state) => PagingState::new_from_raw_bytes(state),
            None => PagingState::start(),
        };
        let mut statement = statement.clone();
        statement.set_page_size(i32::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(1));
        let (answer, next) = self.calls.page(&statement, from).await?;
        Ok((answer, token(kind, &next)))
    }

    /// Time and id of what is listed in one bucket after a place.
    async fn listed(
        &self,
        day: &SourceDay,
        bucket: u8,
        (occurred_at, id): (CqlTimestamp, &str),
        limit: i32,
    ) -> Result<Vec<(Timestamp, ReviewId)>, StoreError> {
        let (source, bucket) = (day.source.as_str(), i16::from(bucket));
        let values = (source, date(day.day), bucket, occurred_at, id, limit);
        let entries: Vec<(CqlTimestamp, String)> =
            rows(self.calls.run(&self.statements.listed, values).await?)?;
        let place = |(at, id): (CqlTimestamp, String)| {
            let at =
                Timestamp::from_millisecond(at.0).map_err(|error| trouble::of_answer(&error))?;
            Ok((at, ReviewId::new(id).map_err(|error| trouble::of_answer(&error))?))
        };
        entries.into_iter().map(place).collect()
    }
}

#[async_trait]
impl VerdictStore for CqlStore {
    fn system(&self) -> &'static str {
        "cassandra"
    }

    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        let now = clock::now();
        let alive = rows.iter().filter_map(|row| {
            self.ttl(row.verdict.scored_at, now).map(|ttl| Columns::of(row, ttl))
        });
        // What is refused is refused before anything of its batch is written.
        let alive = alive.collect::<Result<Vec<_>, _>>()?;
        let work = alive.into_iter().map(|columns| self.write(columns).boxed());
        self.calls.all(work.collect()).await?;
        Ok(())
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        let found: Vec<(Option<String>,)> =
            rows(self.calls.run(&self.statements.get, (id.as_str(),)).await?)?;
        let json = found.into_iter().find_map(|(json,)| json);
        json.map(|json| verdict(&json)).transpose()
    }

    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        let after = from.map(PageToken::place).transpose()?;
        let after = after
            .as_ref()
            .map_or((CqlTimestamp(i64::MIN), ""), |(at, id)| (time(*at), id.as_str()));
        let limit = limit.clamp(1, PAGE_MAX);
        // Any of the buckets may have all of the page, and one more says whether there is another page.
        let each = i32::try_from(limit + 1).unwrap_or(i32::MAX);
        let work = (0..BUCKETS).map(|bucket| self.listed(day, bucket, after, each).boxed());
        let entries = self.calls.all(work.collect()).await?;
        let mut places: Vec<_> = entries.into_iter().flatten().collect();
        places.sort_unstable();
        let places = page::cut(places, limit, |(at, id)| PageToken::after_place(*at, id));

        let work = places.items.iter().map(|place| self.get_listed(day, place).boxed());
        let found = self.calls.all(work.collect()).await?;
        Ok(Page { items: found.into_iter().flatten().collect(), next: places.next })
    }

    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError> {
        let (answer, next) = self.page(&self.statements.scan, Kind::Scan, from, limit).await?;
        let found: Vec<(Option<String>, Option<i64>)> = rows(answer)?;
        let items = found.into_iter().filter_map(|(json, written_at_us)| {
            let (json, written_at_us) = (json?, written_at_us?);
            Some(verdict(&json).map(|verdict| Row { verdict, written_at_us }))
        });
        Ok(Page { items: items.collect::<Result<_, _>>()?, next })
    }

    async fn keep_feedback(&self, feedback: &[FeedbackRow]) -> Result<(), StoreError> {
        let columns = feedback.iter().map(feedback::Columns::of).collect::<Result<Vec<_>, _>>()?;
        let keep = |one| self.calls.run(&self.statements.keep_feedback, one).boxed();
        self.calls.all(columns.into_iter().map(keep).collect()).await?;
        Ok(())
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        let found = self.calls.run(&self.statements.feedback, (id.as_str(),)).await?;
        rows::<feedback::Kept>(found)?.into_iter().map(feedback::Kept::into_row).collect()
    }

    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        let (answer, next) =
            self.page(&self.statements.scan_feedback, Kind::Feedback, from, limit).await?;
        let kept = rows::<feedback::Kept>(answer)?.into_iter().map(feedback::Kept::into_row);
        Ok(Page { items: kept.collect::<Result<_, _>>()?, next })
    }

    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError> {
        let now = clock::now();
        let alive = judged
            .iter()
            .filter_map(|one| Some(judged::Columns::of(one, self.ttl(one.judged_at, now)?)));
        let keep = |one| self.calls.run(&self.statements.keep_judged, one).boxed();
        self.calls.all(alive.map(keep).collect()).await?;
        Ok(())
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        let mut found: Vec<JudgedWindow> = Vec::new();
        for day in judgements::days(period)? {
            let left = count_max.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            // The first millisecond that is not before: whatever is kept is whole milliseconds.
            let bound = |at: Timestamp| CqlTimestamp(judgements::ceiling_ms(at));
            let values = (date(day), bound(period.start), bound(period.end), left);
            let answer = self.calls.run(&self.statements.judged, values).await?;
            for kept in rows::<judged::Kept>(answer)? {
                found.extend(kept.into_judged()?);
            }
        }
        Ok(found)
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        let now = clock::now();
        let alive = records.iter().filter_map(|record| {
            Some(refused::Columns::of(record, self.ttl(record.refused_at, now)?))
        });
        let alive = alive.collect::<Result<Vec<_>, _>>()?;
        let keep = |one| self.calls.run(&self.statements.keep_refused, one).boxed();
        self.calls.all(alive.into_iter().map(keep).collect()).await?;
        Ok(())
    }

    /// Reads all of the table: what is refused is rare.
    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        let mut latest: Vec<RefusedRecord> = Vec::new();
        let mut from = PagingState::start();
        loop {
            let (answer, next) = self.calls.page(&self.statements.refused, from).await?;
            for kept in rows::<Kept>(answer)? {
                latest.push(kept.into_refused()?);
            }
            latest.sort_by(|one, other| {
                let order = |refused: &RefusedRecord| {
                    (refused.refused_at, refused.partition, refused.offset)
                };
                order(other).cmp(&order(one))
            });
            latest.truncate(count_max);
            from = match next {
                PagingStateResponse::HasMorePages { state } => state,
                PagingStateResponse::NoMorePages => return Ok(latest),
            };
        }
    }

    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        let (answer, next) =
            self.page(&self.statements.refused, Kind::Refused, from, limit).await?;
        let kept = rows::<Kept>(answer)?.into_iter().map(Kept::into_refused);
        Ok(Page { items: kept.collect::<Result<_, _>>()?, next })
    }
}

fn token(kind: Kind, next: &PagingStateResponse) -> Option<PageToken> {
    match next {
        PagingStateResponse::HasMorePages { state } => {
            state.as_bytes_slice().map(|bytes| PageToken::of_bytes(kind, bytes))
        }
        PagingStateResponse::NoMorePages => None,
    }
}

fn verdict(json: &str) -> Result<Verdict, StoreError> {
    ours(serde_json::from_str(json))
}

fn ours<T>(read: serde_json::Result<T>) -> Result<T, StoreError> {
    read.map_err(|error| trouble::of_answer(&error))
}
