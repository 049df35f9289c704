//! What goes over the socket: a line of JSON each way for each record.

use serde::{Deserialize, Serialize};

use crate::record::{Record, Time};

/// The longest request, in bytes.
pub(crate) const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// A record to append.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Chosen by the sender, repeated in the response.
    pub id: u64,
    /// Who sends it.
    pub from: String,
    /// When, by the sender's clock.
    pub sent_at: Time,
    /// What to append.
    pub record: Record,
}

/// What became of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Response {
    /// It is in the file, for good.
    Done {
        /// The request.
        id: u64,
        /// Its place.
        seq: u64,
    },
    /// It was no record.
    Refused {
        /// The request, where it could be read.
        id: Option<u64>,
        /// Why.
        error: String,
    },
}
