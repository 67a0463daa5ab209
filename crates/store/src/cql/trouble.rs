//! What the driver's and the server's errors mean to the caller.

use std::error::Error;

use scylla::errors::{
    BadQuery, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind as SetupKind,
    DbError, ExecutionError, MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

use crate::{ConnectError, StoreError};

/// What to do where tables are not as they should be.
pub(super) const MIGRATE: &str = "run `verdict store migrate` with the same settings";

/// Beginnings of what servers say of tables and columns that they do not have; both kinds of servers report it as they report
/// values that they do not take.
const MISSING: [&str; 5] = [
    "unconfigured table",
    "does not exist",
    "undefined column",
    "unknown identifier",
    "unrecognized name",
];

/// The error of a call.
pub(super) fn of_call(error: &ExecutionError) -> StoreError {
    match error {
        ExecutionError::BadQuery(BadQuery::PartitionKeyExtraction) => unusable(error),
        ExecutionError::BadQuery(_) => StoreError::Refused(text(error)),
        ExecutionError::LastAttemptError(attempt) => of_attempt(attempt),
        ExecutionError::PrepareError(prepare) => of_prepare(prepare),
        // No connection, no answer in time, no node left: all of that may pass.
        _ => StoreError::Unavailable(text(error)),
    }
}

/// The error of preparing a statement.
pub(super) fn of_prepare(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => of_attempt(first_attempt),
        _ => StoreError::Unavailable(text(error)),
    }
}

/// An answer that is not what was asked for: the tables were changed by hand.
pub(super) fn of_answer(error: &dyn Error) -> StoreError {
    StoreError::Unusable(format!("the tables hold what is not ours: {}", text(error)))
}

/// Whether the same call may do better at once, at another node: it was not the time that ran out.
pub(super) fn is_worth_another_attempt(error: &ExecutionError) -> bool {
    use DbError as Db;
    match error {
        ExecutionError::ConnectionPoolError(_)
        | ExecutionError::LastAttemptError(
            RequestAttemptError::BrokenConnectionError(_)
            | RequestAttemptError::UnableToAllocStreamId,
        ) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => {
            matches!(
                error,
                Db::Overloaded
                    | Db::IsBootstrapping
                    | Db::RateLimitReached { .. }
                    | Db::Unprepared { .. }
            )
        }
        _ => false,
    }
}

fn of_attempt(error: &RequestAttemptError) -> StoreError {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => StoreError::Refused(text(error)),
        RequestAttemptError::DbError(kind, said) => of_server(kind, said),
        // In doubt it may pass: then nothing is given up.
        _ => StoreError::Unavailable(text(error)),
    }
}

fn of_server(error: &DbError, said: &str) -> StoreError {
    let message = format!("{error}: {said}");
    match error {
        DbError::Invalid if is_missing(said) => {
            StoreError::Unusable(format!("{message}; {MIGRATE}"))
        }
        DbError::Invalid => StoreError::Refused(message),
        DbError::Unauthorized => StoreError::Unusable(format!(
            "{message}; let the user of `store.username` read and write the tables"
        )),
        DbError::SyntaxError
        | DbError::ConfigError
        | DbError::ProtocolError
        | DbError::AlreadyExists { .. }
        | DbError::FunctionFailure { .. } => StoreError::Unusable(message),
        _ => StoreError::Unavailable(message),
    }
}

fn is_missing(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    MISSING.iter().any(|words| said.contains(words))
}

/// The error of making a session.
pub(super) fn of_session(error: &NewSessionError) -> ConnectError {
    match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
            ConnectionPoolError::Broken { last_connection_error },
        )) => of_connection(last_connection_error),
        NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) => {
            ConnectError::Unusable(text(error))
        }
        _ => ConnectError::Unavailable(text(error)),
    }
}

/// Credentials and certificates do not become right by waiting; all else may.
fn of_connection(error: &ConnectionError) -> ConnectError {
    let message = text(error);
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
            // A server that cannot look up its users says so by the same code.
            SetupKind::DbError(DbError::AuthenticationError, said)
                if !said.contains("Unable to perform") =>
            {
                ConnectError::Unusable(format!(
                    "{message}; set `store.username` and `store.password`"
                ))
            }
            SetupKind::MissingAuthentication => ConnectError::Unusable(
                "the server asks for a user: set `store.username` and `store.password`".to_owned(),
            ),
            _ => ConnectError::Unavailable(message),
        },
        ConnectionError::IoError(_) if message.contains("certificate verify failed") => {
            ConnectError::Unusable(format!(
                "{message}; the server's certificate has to name its IP address and to be signed by one of `store.tls.ca`"
            ))
        }
        _ => ConnectError::Unavailable(message),
    }
}

fn unusable(error: &ExecutionError) -> StoreError {
    StoreError::Unusable(text(error))
}

/// The error with its causes, where it does not say them itself.
fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: DbError, said: &str, expected: fn(String) -> StoreError) {
        let attempt = RequestAttemptError::DbError(error, said.to_owned());
        let found = of_call(&ExecutionError::LastAttemptError(attempt));
        let expected = expected(String::new());
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected), "{found}");
        assert!(found.to_string().contains(said), "{found}");
    }

    #[test]
    fn what_may_pass_is_unavailable() {
        for error in [
            DbError::Overloaded,
            DbError::IsBootstrapping,
            DbError::ServerError,
            DbError::Other(0x7000),
        ] {
            check(error, "busy", StoreError::Unavailable);
        }
        let timeout = ExecutionError::RequestTimeout(std::time::Duration::from_secs(5));
        assert!(matches!(of_call(&timeout), StoreError::Unavailable(_)));
        assert!(matches!(of_call(&ExecutionError::EmptyPlan), StoreError::Unavailable(_)));
    }

    #[test]
    fn a_missing_table_is_not_the_rows_fault() {
        check(DbError::Invalid, "Key may not be empty", StoreError::Refused);
        for said in [
            "unconfigured table verdicts_by_id",
            "table verdicts_by_id does not exist",
            "Keyspace 'verdict' does not exist",
            "Undefined column name language in table verdict.verdicts_by_id",
        ] {
            check(DbError::Invalid, said, StoreError::Unusable);
        }
    }

    #[test]
    fn what_needs_an_operator_says_what_to_do() {
        check(DbError::Unauthorized, "User bob has no MODIFY permission", StoreError::Unusable);
        check(DbError::SyntaxError, "line 1:0", StoreError::Unusable);
        let attempt =
            RequestAttemptError::DbError(DbError::Invalid, "unconfigured table x".to_owned());
        let error = of_call(&ExecutionError::LastAttemptError(attempt));
        assert!(error.to_string().contains("verdict store migrate"), "{error}");
    }
}
