//! Where it keeps its runs.

use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use duroxide::providers::sqlite::SqliteProvider;
use duroxide::providers::{Provider, ProviderAdmin};
use duroxide_pg::PostgresProvider;

use crate::Result;
use crate::rival::{Recorded, Site, Stand, Workload};
use crate::rivals::postgres::count;

const POOL_MAX: &str = "DUROXIDE_PG_POOL_MAX";

/// A store, and what is best on it.
pub trait Store: 'static {
    const NAME: &'static str;
    const CRATES: &'static [&'static str];
    const WORKLOADS: &'static [Workload];
    const CONCURRENCY: usize;
    const POLL_US: u64;

    fn pool(site: &Site) -> u32;
    fn stand(site: &Site) -> Result<Stand>;
    fn connect(site: &Site) -> impl Future<Output = Result<Arc<dyn Provider>>> + Send;
    fn recorded(url: &str) -> impl Future<Output = Result<Recorded>> + Send;
}

/// A file.
pub struct Sqlite;

/// A database.
pub struct Postgres;

/// Removed when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Store for Sqlite {
    const NAME: &'static str = "duroxide";
    const CRATES: &'static [&'static str] = &["duroxide"];
    const WORKLOADS: &'static [Workload] = &[
        Workload::W1,
        Workload::W2,
        Workload::W3,
        Workload::W3b,
        Workload::W6,
        Workload::W7,
        Workload::W10,
        Workload::W15,
    ];
    const CONCURRENCY: usize = 2;
    const POLL_US: u64 = 50_000;

    fn pool(_site: &Site) -> u32 {
        5
    }

    fn stand(site: &Site) -> Result<Stand> {
        if site.url.starts_with("sqlite:") {
            return Ok(Stand { url: site.url.clone(), _guard: None });
        }
        // Asked for with the URL of a Postgres: a file of our own.
        let path = std::env::temp_dir().join(format!("workflow-rivals-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        let url = format!("sqlite:{}?mode=rwc", path.join("duroxide.db").display());
        Ok(Stand { url, _guard: Some(Box::new(Directory(path))) })
    }

    async fn connect(site: &Site) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(SqliteProvider::new(&site.url, None).await?))
    }

    async fn recorded(url: &str) -> Result<Recorded> {
        let metrics = SqliteProvider::new(url, None).await?.get_system_metrics().await;
        let metrics = metrics.map_err(|error| format!("{error:?}"))?;
        Ok(Recorded { runs: metrics.completed_instances, steps: None })
    }
}

impl Store for Postgres {
    const NAME: &'static str = "duroxide-pg";
    const CRATES: &'static [&'static str] = &["duroxide-pg", "duroxide"];
    const WORKLOADS: &'static [Workload] = &[
        Workload::W1,
        Workload::W2,
        Workload::W3,
        Workload::W3b,
        Workload::W4,
        Workload::W6,
        Workload::W7,
        Workload::W10,
        Workload::W15,
    ];
    const CONCURRENCY: usize = 4;
    const POLL_US: u64 = 10_000;

    fn pool(site: &Site) -> u32 {
        site.setting("pool", 32)
    }

    fn stand(site: &Site) -> Result<Stand> {
        // The pool's size is taken from the environment alone, and that of a running process can't be changed safely.
        if std::env::var_os(POOL_MAX).is_none() {
            let mut again = Command::new(std::env::current_exe()?);
            return Err(again.args(std::env::args().skip(1)).env(POOL_MAX, Self::pool(site).to_string()).exec().into());
        }
        Ok(Stand { url: site.url.clone(), _guard: None })
    }

    async fn connect(site: &Site) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(PostgresProvider::new(&site.url).await?))
    }

    async fn recorded(url: &str) -> Result<Recorded> {
        let runs = count(url, "SELECT count(*) FROM executions WHERE status = 'Completed'").await?;
        let steps = r#"SELECT count(*) FROM history WHERE event_data LIKE '%"ActivityCompleted"%'"#;
        Ok(Recorded { runs, steps: Some(count(url, steps).await?) })
    }
}
