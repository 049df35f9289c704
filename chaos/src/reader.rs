//! Readers, who look at runs while everything breaks: a journal may only grow, and what has ended stays ended.

use std::sync::Arc;
use std::time::Duration;

use workflow::Client;
use workflow::store::ListFilter;
use workflow_checker::dump;
use workflow_checker::record::Record;

use crate::caller::{Caller, observation};
use crate::field::Field;

/// Looks until the field is stopped.
pub async fn read(field: Arc<Field>) {
    let url = field.place.url();
    let store = loop {
        match field.place.open(&url, 1).await {
            Ok(store) => break store,
            Err(_) if field.stopped() => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let mut caller = Caller::new(field.clone(), Client::new(store.clone()), "reader".to_owned());
    let mut known = Vec::new();
    while field.pause(Duration::from_millis(100)).await {
        if known.len() < 20 {
            let newest = store.list(&ListFilter { limit: 40, ..ListFilter::default() }).await.unwrap_or_default();
            known.extend(newest.into_iter().map(|record| record.id));
        }
        // Mostly the newest, and again and again.
        let index = caller.rng.below(known.len() as u64 + 1);
        let Some(run) = known.get(usize::try_from(index).unwrap_or(0)).copied() else { continue };
        if let Ok(journal) = dump::journal(&url, run.0).await {
            field.tell(Record::Journal { run: run.0, prefixes: dump::prefixes(&journal) }).await;
        }
        if let Ok(status) = caller.client.status(run).await {
            let status = observation(&status);
            let over = status.outcome.is_some();
            field.tell(Record::Observed { run: run.0, status }).await;
            if over && caller.rng.chance(50) {
                known.retain(|known| *known != run);
            }
        }
    }
}
