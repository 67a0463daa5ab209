//! What `SQLite`'s errors mean to the caller.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::{ConnectError, StoreError};

/// What may pass, what the rows are to blame for, and what needs an operator.
enum Kind {
    Passing,
    Rows,
    Lasting,
}

/// By `SQLite`'s primary result codes (<https://www.sqlite.org/rescode.html>). In doubt it may pass: then nothing is given up.
fn kind(error: &Error) -> Kind {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange => Kind::Rows,
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::ApiMisuse
            | ErrorCode::InternalMalfunction
            | ErrorCode::NoLargeFileSupport
            // SQLITE_ERROR: a table or column is missing, so somebody changed the tables by hand.
            | ErrorCode::Unknown => Kind::Lasting,
            _ => Kind::Passing,
        },
        // A column that is there holds something that we never write, or is missing.
        _ => Kind::Lasting,
    }
}

/// The error of a call on an open file at `place`.
pub(super) fn of_call(error: &Error, place: &str) -> StoreError {
    let message = format!("{place}: {error}");
    match kind(error) {
        Kind::Passing => StoreError::Unavailable(message),
        Kind::Rows => StoreError::Refused(message),
        Kind::Lasting => StoreError::Unusable(format!("{message}; {}", advice(error))),
    }
}

/// The error of opening the file at `path`.
pub(super) fn of_opening(error: &Error, path: &Path) -> ConnectError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => ConnectError::Unusable(format!(
            "cannot open {path}: {error}; make its folder, and let this user write there"
        )),
        _ => match kind(error) {
            Kind::Passing => ConnectError::Unavailable(format!("{path}: {error}")),
            Kind::Rows | Kind::Lasting => {
                ConnectError::Unusable(format!("cannot use {path}: {error}; {}", advice(error)))
            }
        },
    }
}

/// What an operator can do about lasting trouble.
fn advice(error: &Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is no SQLite file: choose another path",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "let this user write the file and its folder"
        }
        _ => {
            "move it away and restore a copy, or start with a new file and read the verdicts' topic again from the start"
        }
    }
}
