//! What a measured stretch of time costs: statements, commits and write-ahead log of the server, processor time, memory.
//!
//! It looks from a connection to another database of the server, so that nothing of the looking is counted. Statements of the
//! measurement in the measured database begin with [`UNCOUNTED`].

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row};

use crate::figure::Figures;
use crate::{AnyError, proc, server};

/// How a statement begins that isn't ours to count.
pub const UNCOUNTED: &str = "-- The measurement's own.\n";
const STATEMENTS: &str = "SELECT s.query, s.calls, s.rows, s.total_exec_time, s.shared_blks_hit + s.shared_blks_read AS blocks \
                          FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid \
                          WHERE d.datname = $1 AND s.query NOT LIKE '-- The measurement''s own.%'";
/// Transactions that write take a number each; the others cost the disk nothing.
const POSITION: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal, \
                        pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions";

/// One statement of the server, or how often it was run meanwhile.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Statement {
    /// The first line of its text: for a query of the stores, the line that says what it does.
    pub what: String,
    pub calls: f64,
    pub rows: f64,
    /// Milliseconds in the server.
    pub total_ms: f64,
    /// Pages it looked at.
    pub blocks: f64,
}

/// What a stretch of time cost.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Costs {
    pub seconds: f64,
    pub commits: Option<f64>,
    pub wal_bytes: Option<f64>,
    pub server_cpu_s: Option<f64>,
    pub own_cpu_s: Option<f64>,
    pub peak_memory_bytes: Option<f64>,
    /// All that were run, most time first; none without the extension pg_stat_statements.
    pub statements: Option<Vec<Statement>>,
}

impl Costs {
    pub fn calls(&self) -> Option<f64> {
        Some(self.statements.as_ref()?.iter().fold(0.0, |sum, statement| sum + statement.calls))
    }

    /// The statement whose first line begins like this.
    pub fn statement(&self, what: &str) -> Option<&Statement> {
        self.statements.as_ref()?.iter().find(|statement| statement.what.starts_with(what))
    }

    /// As figures, per operation where that means something.
    pub fn per(&self, operations: f64) -> Figures {
        let each = |total: Option<f64>| total.map(|total| total / operations);
        let us_each = |total: Option<f64>| total.map(|total| total / operations * 1e6);
        let all = [
            ("statements", each(self.calls())),
            ("commits", each(self.commits)),
            ("wal_bytes", each(self.wal_bytes)),
            ("server_cpu_us", us_each(self.server_cpu_s)),
            ("own_cpu_us", us_each(self.own_cpu_s)),
            ("server_cpu_seconds_total", self.server_cpu_s),
            ("own_cpu_seconds_total", self.own_cpu_s),
            ("measured_seconds", Some(self.seconds)),
            ("operations", Some(operations)),
            ("peak_memory_bytes", self.peak_memory_bytes),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|v| v.is_finite())?))).collect()
    }
}

/// Looks at a server and at this process.
pub struct Meter {
    server: Option<Look>,
}

struct Look {
    connection: PgConnection,
    database: String,
    postmaster: Option<u32>,
    has_statements: bool,
}

/// What a [`Meter`] saw.
pub struct Reading {
    at: Instant,
    wal: Option<i64>,
    transactions: Option<i64>,
    server_cpu_s: Option<f64>,
    own_cpu_s: Option<f64>,
    statements: Option<BTreeMap<String, Statement>>,
}

impl Meter {
    /// A meter of the database that `url` names; of this process alone for another store.
    pub async fn of(url: &str) -> Result<Self, AnyError> {
        if !server::is_postgres(url) {
            return Ok(Self { server: None });
        }
        let (mut connection, database) = server::beside(url).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = u32::try_from(backend).ok().filter(|_| server::is_local(url)).and_then(proc::postmaster_of);
        let has_statements = sqlx::query(STATEMENTS).bind(&database).fetch_all(&mut connection).await.is_ok();
        Ok(Self { server: Some(Look { connection, database, postmaster, has_statements }) })
    }

    /// The state of things now.
    pub async fn read(&mut self) -> Result<Reading, AnyError> {
        let (mut wal, mut transactions, mut server_cpu_s, mut statements) = (None, None, None, None);
        if let Some(look) = &mut self.server {
            let row = sqlx::query(POSITION).fetch_one(&mut look.connection).await?;
            wal = row.try_get("wal")?;
            transactions = row.try_get("transactions")?;
            server_cpu_s = look.postmaster.and_then(proc::server_cpu_s);
            statements = look.statements().await?;
        }
        let own_cpu_s = proc::own_cpu_s();
        Ok(Reading { at: Instant::now(), wal, transactions, server_cpu_s, own_cpu_s, statements })
    }

    /// What it cost from then to now.
    pub async fn since(&mut self, then: &Reading) -> Result<Costs, AnyError> {
        let now = self.read().await?;
        let difference = |a: Option<i64>, b: Option<i64>| Some((b? - a?) as f64);
        let statements = then.statements.as_ref().zip(now.statements).map(|(before, after)| run_between(before, after));
        Ok(Costs {
            seconds: (now.at - then.at).as_secs_f64(),
            commits: difference(then.transactions, now.transactions),
            wal_bytes: difference(then.wal, now.wal),
            server_cpu_s: now.server_cpu_s.zip(then.server_cpu_s).map(|(now, then)| now - then),
            own_cpu_s: now.own_cpu_s.zip(then.own_cpu_s).map(|(now, then)| now - then),
            peak_memory_bytes: proc::peak_memory_bytes(),
            statements,
        })
    }
}

impl Look {
    async fn statements(&mut self) -> Result<Option<BTreeMap<String, Statement>>, AnyError> {
        if !self.has_statements {
            return Ok(None);
        }
        let mut seen: BTreeMap<String, Statement> = BTreeMap::new();
        for row in sqlx::query(STATEMENTS).bind(&self.database).fetch_all(&mut self.connection).await? {
            let query: String = row.try_get("query")?;
            let what: String =
                query.lines().next().unwrap_or_default().trim_start_matches("-- ").chars().take(120).collect();
            let statement = seen.entry(what.clone()).or_insert_with(|| Statement { what, ..Statement::default() });
            statement.calls += row.try_get::<i64, _>("calls")? as f64;
            statement.rows += row.try_get::<i64, _>("rows")? as f64;
            statement.total_ms += row.try_get::<f64, _>("total_exec_time")?;
            statement.blocks += row.try_get::<i64, _>("blocks")? as f64;
        }
        Ok(Some(seen))
    }
}

fn run_between(before: &BTreeMap<String, Statement>, after: BTreeMap<String, Statement>) -> Vec<Statement> {
    let nothing = Statement::default();
    let mut between: Vec<Statement> = after
        .into_iter()
        .map(|(what, now)| {
            let then = before.get(&what).unwrap_or(&nothing);
            Statement {
                what,
                calls: now.calls - then.calls,
                rows: now.rows - then.rows,
                total_ms: now.total_ms - then.total_ms,
                blocks: now.blocks - then.blocks,
            }
        })
        .filter(|statement| statement.calls > 0.0)
        .collect();
    between.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
    between
}
