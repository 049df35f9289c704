//! Where the runs are kept: a Postgres server or a directory for SQLite files. Every measurement gets a fresh database.

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use uuid::Uuid;
use workflow_testserver::{Options, Server};

use crate::AnyError;
use crate::cost::UNCOUNTED;
use crate::figure::Figures;
use crate::options::StoreKind;

/// The database of a server from which others are made and looked at.
const ADMIN: &str = "postgres";

const SETTINGS: [&str; 16] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_connections",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_buffers",
    "wal_compression",
    "commit_delay",
    "jit",
    "autovacuum",
    "shared_preload_libraries",
    "dynamic_shared_memory_type",
];

/// Whether this is the address of a Postgres database.
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Whether the server runs on this machine.
pub fn is_local(url: &str) -> bool {
    let host = PgConnectOptions::from_str(url).map(|options| options.get_host().to_owned()).unwrap_or_default();
    ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) || host.starts_with('/')
}

/// A connection to the server's other database, and the name of the database of `url`.
pub async fn beside(url: &str) -> Result<(PgConnection, String), AnyError> {
    let options = PgConnectOptions::from_str(url)?;
    let database = options.get_database().unwrap_or(ADMIN).to_owned();
    Ok((PgConnection::connect_with(&options.database(ADMIN)).await?, database))
}

/// The address with another database. Nothing else changes, since every client has parameters of its own.
fn with_database(url: &str, name: &str) -> Result<String, AnyError> {
    let (place, parameters) = url.split_once('?').map_or((url, String::new()), |(place, p)| (place, format!("?{p}")));
    let (scheme, rest) = place.split_once("://").ok_or("the address of a server begins with postgres://")?;
    let host = rest.split('/').next().unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{parameters}"))
}

/// Where databases are made.
pub enum Place {
    /// A server: our own, which goes when this is dropped, or somebody's.
    Postgres { own: Option<Server>, url: String },
    /// A directory, removed at the end when it is our own.
    Sqlite { directory: PathBuf, own: bool },
}

/// A fresh database.
pub struct Fresh {
    pub url: String,
    name: String,
}

impl Place {
    pub async fn open(kind: &StoreKind) -> Result<Self, AnyError> {
        match kind {
            StoreKind::Postgres => {
                let server = start().await?;
                let url = server.url(ADMIN);
                let mut admin = PgConnection::connect(&url).await?;
                // Without the extension's files statements aren't counted; everything else is.
                let _ = admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await;
                admin.close().await?;
                Ok(Place::Postgres { own: Some(server), url })
            }
            StoreKind::Sqlite => {
                let directory = std::env::temp_dir().join(format!("workflow-bench-{}", std::process::id()));
                std::fs::create_dir_all(&directory)?;
                Ok(Place::Sqlite { directory, own: true })
            }
            StoreKind::Url(url) if is_postgres(url) => Ok(Place::Postgres { own: None, url: url.clone() }),
            StoreKind::Url(url) => {
                let path = url
                    .strip_prefix("sqlite:")
                    .ok_or("--store takes sqlite, postgres, postgres://.. or sqlite:DIRECTORY")?;
                std::fs::create_dir_all(path)?;
                Ok(Place::Sqlite { directory: path.into(), own: false })
            }
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Place::Postgres { .. })
    }

    /// Makes a database. Its predecessor's removal has forced a checkpoint, so that all begin alike.
    pub async fn fresh(&self) -> Result<Fresh, AnyError> {
        let name = format!("workflow_bench_{}", Uuid::new_v4().simple());
        match self {
            Place::Postgres { url, .. } => {
                let (mut admin, _) = beside(url).await?;
                let made = admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await;
                made.map_err(|error| {
                    format!("every measurement needs a database of its own, but: {error}; use a role with CREATEDB")
                })?;
                admin.close().await?;
                Ok(Fresh { url: with_database(url, &name)?, name })
            }
            Place::Sqlite { directory, .. } => {
                let url = format!("sqlite:{}", directory.join(format!("{name}.db")).display());
                Ok(Fresh { url, name })
            }
        }
    }

    pub async fn remove(&self, fresh: Fresh) -> Result<(), AnyError> {
        match self {
            Place::Postgres { url, .. } => {
                let (mut admin, _) = beside(url).await?;
                admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", fresh.name))).await?;
                if self.is_own() {
                    let _ = admin.execute("SELECT pg_stat_statements_reset()").await;
                }
                admin.close().await?;
            }
            Place::Sqlite { directory, .. } => {
                for entry in std::fs::read_dir(directory)?.flatten() {
                    if entry.file_name().to_string_lossy().starts_with(&fresh.name) {
                        std::fs::remove_file(entry.path())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_own(&self) -> bool {
        matches!(self, Place::Postgres { own: Some(_), .. } | Place::Sqlite { own: true, .. })
    }

    /// What the server is and how it is set.
    pub async fn describe(&self) -> Result<serde_json::Map<String, serde_json::Value>, AnyError> {
        let mut said = serde_json::Map::new();
        match self {
            Place::Postgres { url, .. } => {
                let (mut admin, _) = beside(url).await?;
                for setting in SETTINGS {
                    let value: Option<String> = sqlx::query_scalar("SELECT current_setting($1, TRUE)")
                        .bind(setting)
                        .fetch_one(&mut admin)
                        .await?;
                    said.insert(setting.into(), value.into());
                }
                let version: String = sqlx::query_scalar("SELECT version()").fetch_one(&mut admin).await?;
                said.insert("version".into(), version.into());
            }
            Place::Sqlite { .. } => {
                said.insert("version".into(), format!("SQLite {}", sqlite_version().await?).into());
                said.insert("synchronous".into(), "FULL, write-ahead log (the store's default)".into());
            }
        }
        Ok(said)
    }

    pub async fn close(self) -> Result<(), AnyError> {
        match self {
            Place::Postgres { own: Some(server), .. } => server.stop().await?,
            Place::Postgres { own: None, .. } | Place::Sqlite { own: false, .. } => {}
            Place::Sqlite { directory, own: true } => std::fs::remove_dir_all(directory)?,
        }
        Ok(())
    }
}

async fn start() -> Result<Server, AnyError> {
    let options = || Options::new().set("shared_buffers", "1GB");
    let counting = options().set("shared_preload_libraries", "pg_stat_statements");
    match Server::start(counting).await {
        Err(workflow_testserver::Error::Start { log, .. }) if log.contains("pg_stat_statements") => {
            eprintln!("this Postgres comes without pg_stat_statements: statements aren't counted");
            Ok(Server::start(options()).await?)
        }
        other => Ok(other?),
    }
}

async fn sqlite_version() -> Result<String, AnyError> {
    let mut memory = SqliteConnection::connect("sqlite::memory:").await?;
    Ok(sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut memory).await?)
}

/// The tables of a store, under the names that it gives them.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    Runs,
    Journal,
    Subscriptions,
}

/// Counts rows again and again.
pub enum Counter {
    Postgres(PgConnection, String),
    Sqlite(SqliteConnection, String),
}

impl Counter {
    /// Of the rows of a table where `condition` holds, which is SQL that both stores understand.
    pub async fn of(url: &str, table: Table, condition: &str) -> Result<Self, AnyError> {
        let (postgres, sqlite) = match table {
            Table::Runs => ("workflow.runs", "wf_run"),
            Table::Journal => ("workflow.journal", "wf_journal"),
            Table::Subscriptions => ("workflow.subscriptions", "wf_subscription"),
        };
        let statement = |table| format!("{UNCOUNTED}SELECT count(*) FROM {table} WHERE {condition}");
        if is_postgres(url) {
            return Ok(Counter::Postgres(PgConnection::connect(url).await?, statement(postgres)));
        }
        Ok(Counter::Sqlite(SqliteConnection::connect(url).await?, statement(sqlite)))
    }

    pub async fn count(&mut self) -> Result<u64, AnyError> {
        let rows: i64 = match self {
            Counter::Postgres(connection, statement) => {
                sqlx::query_scalar(AssertSqlSafe(statement.clone())).fetch_one(connection).await?
            }
            Counter::Sqlite(connection, statement) => {
                sqlx::query_scalar(AssertSqlSafe(statement.clone())).fetch_one(connection).await?
            }
        };
        Ok(u64::try_from(rows)?)
    }
}

/// Counts rows once.
pub async fn count(url: &str, table: Table, condition: &str) -> Result<u64, AnyError> {
    Counter::of(url, table, condition).await?.count().await
}

/// Refuses a measurement whose work isn't in the database.
pub async fn expect(url: &str, table: Table, condition: &str, expected: u64) -> Result<(), AnyError> {
    let found = count(url, table, condition).await?;
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "the measurement is void: {found} rows of {table:?} where {condition}, but {expected} were to be there"
    )
    .into())
}

/// Sizes and dead rows of the store's tables.
pub async fn tables(connection: &mut PgConnection) -> Result<Figures, AnyError> {
    let query = format!(
        "{UNCOUNTED}SELECT COALESCE(sum(n_dead_tup), 0)::float8, COALESCE(sum(pg_total_relation_size(relid)), 0)::float8 \
         FROM pg_stat_user_tables WHERE schemaname = 'workflow'"
    );
    let rows: Vec<(f64, f64)> = sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await?;
    let (dead, bytes) = rows.first().copied().unwrap_or_default();
    Ok(Figures::from([("dead_rows".to_owned(), dead), ("table_bytes".to_owned(), bytes)]))
}
