//! What the fuzz targets reach of this crate. Only with `--cfg fuzzing`.
#![expect(missing_docs, reason = "nobody's API")]

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;
use workflow_core::journal::Entry;
use workflow_core::{StoreError, Timestamp};

use crate::stored::{Stored, StoredFact};
use crate::wake::Wakes;
use crate::{error, tls};

#[derive(Debug)]
pub struct Row<'a> {
    pub position: i32,
    pub version: i16,
    pub kind: &'a str,
    pub name: &'a str,
    pub nth: i32,
    pub phase: &'a str,
    pub codec: i16,
    pub payload: &'a [u8],
    pub mark: Option<i64>,
}

/// Reads a row of the journal.
pub fn entry(row: &Row<'_>, position: u32) -> Result<Entry, String> {
    let fact = StoredFact {
        kind: row.kind.to_owned(),
        name: row.name.to_owned(),
        nth: row.nth,
        phase: row.phase.to_owned(),
        codec: row.codec,
        payload: row.payload.to_vec(),
        mark: row.mark,
    };
    let recorded_at = Timestamp::UNIX_EPOCH;
    Stored { position: row.position, fact, version: row.version, recorded_at }.read(position)
}

/// Reads a URL as connecting does.
pub fn url(url: &str) -> Result<(), StoreError> {
    let target = PgConnectOptions::from_str(url).map_err(error::connect)?;
    tls::secured(target, url);
    Ok(())
}

/// Reads a notification, writes it again and reads that.
///
/// # Panics
///
/// When it isn't the same.
pub fn notification(payload: &str) {
    let (me, you) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let Some(wakes) = Wakes::decode(payload, me) else { return };
    let each = |wakes: &Wakes| {
        let mut all = Vec::new();
        wakes.each(|wakeup| all.push(wakeup));
        all
    };
    let mut again = Wakes::default();
    for payload in wakes.encode(me) {
        assert!(Wakes::decode(&payload, me).is_none());
        again.merge(Wakes::decode(&payload, you).expect("somebody else's"));
    }
    let heard = each(&again);
    assert!(each(&wakes).iter().all(|wakeup| heard.contains(wakeup)));
}
