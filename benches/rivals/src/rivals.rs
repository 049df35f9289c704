//! The rivals.

mod dbos;
mod durare;
mod duroxide;
mod postgres;
mod restate;
mod underway;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;

use crate::rival::{Role, Site, Workload, describe};
use crate::{Result, process, workload};

/// One function that finds a rival by its name, for each thing to do with one.
macro_rules! rivals {
    ($($name:literal => $rival:ty,)+) => {
        /// What they are called.
        pub const NAMES: &[&str] = &[$($name),+];

        /// What they are and can do.
        pub fn list() -> Value {
            let site = site();
            Value::Array(vec![$(describe::<$rival>(&site)),+])
        }

        /// Measures one.
        pub async fn run(name: &str, site: &Site) -> Result<String> {
            match name {
                $($name => workload::run::<$rival>(site).await,)+
                _ => Err(format!("there is no {name}").into()),
            }
        }

        /// Is a process of a measurement.
        pub async fn process(name: &str, site: &Site) -> Result<()> {
            match name {
                $($name => process::be::<$rival>(site).await,)+
                _ => Err(format!("there is no {name}").into()),
            }
        }
    };
}

rivals! {
    "dbos" => dbos::Dbos,
    "restate" => restate::Restate,
    "durare" => durare::Durare,
    "duroxide" => duroxide::Duroxide<duroxide::Sqlite>,
    "duroxide-pg" => duroxide::Duroxide<duroxide::Postgres>,
    "underway" => underway::Underway,
}

/// What settings are told for when nothing is measured.
fn site() -> Site {
    Site {
        workload: Workload::W2,
        url: String::new(),
        role: Role::Whole,
        time: Duration::ZERO,
        in_flight: None,
        size: None,
        set: BTreeMap::new(),
    }
}

/// Does it for each of them, so many at a time.
async fn all<D, F>(range: Range<u32>, at_a_time: usize, each: D) -> Result<()>
where
    D: Fn(u32) -> F,
    F: Future<Output = Result<()>>,
{
    let mut done = stream::iter(range).map(each).buffer_unordered(at_a_time);
    while let Some(done) = done.next().await {
        done?;
    }
    Ok(())
}
