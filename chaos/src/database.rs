//! The database under test: a durable Postgres of the campaign's own, or a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor as _, PgConnection, Row};
use tokio::sync::Mutex;
use workflow::Store;
use workflow::postgres::{PgOptions, PgStore};
use workflow_checker::dump::{POSTGRES_TABLES, SQLITE_TABLES};
use workflow_testserver::{Database, Options as ServerOptions, Server};

use crate::AnyError;
use crate::options::Kind;

/// How many accounts there are (from 1), and what each holds at first.
pub const ACCOUNTS: i64 = 64;
pub const BALANCE: i64 = 1_000;

/// How large the disk is that may become full.
const DISK: &str = "3g";

/// A Postgres server with the database of the campaign.
pub struct Postgres {
    pub server: Server,
    pub database: Database,
    /// The file system that the tables are on, when it is one that may become full.
    pub disk: Option<Disk>,
    /// Held by whoever takes the server away, or may not have it taken away.
    pub exclusive: Mutex<()>,
}

/// Where the runs are.
#[derive(Clone)]
pub enum Place {
    Postgres(Arc<Postgres>),
    Sqlite(PathBuf),
}

impl Place {
    pub async fn make(kind: Kind, directory: &Path, full_disk: bool) -> Result<Self, AnyError> {
        match kind {
            Kind::Postgres => Ok(Self::Postgres(Arc::new(Postgres::start(directory, full_disk).await?))),
            Kind::Sqlite => Ok(Self::Sqlite(directory.join("runs.db"))),
        }
    }

    /// The address, without any line before it.
    pub fn url(&self) -> String {
        match self {
            Place::Postgres(postgres) => postgres.database.url().to_owned(),
            Place::Sqlite(file) => format!("sqlite:{}", file.display()),
        }
    }

    /// The address over a line at this port.
    pub fn url_over(&self, port: u16) -> String {
        match self {
            Place::Postgres(postgres) => {
                let direct = format!(":{}/", postgres.server.port());
                self.url().replacen(&direct, &format!(":{port}/"), 1)
            }
            Place::Sqlite(_) => self.url(),
        }
    }

    pub fn postgres(&self) -> Option<&Arc<Postgres>> {
        match self {
            Place::Postgres(postgres) => Some(postgres),
            Place::Sqlite(_) => None,
        }
    }

    /// A store over it, with few connections.
    pub async fn open(&self, url: &str, connections: u32) -> Result<Arc<dyn Store>, AnyError> {
        match self {
            Place::Postgres(_) => {
                let options = PgOptions::new(url).pool_size(connections).acquire_timeout(Duration::from_secs(2));
                Ok(Arc::new(PgStore::connect_with(options).await?))
            }
            Place::Sqlite(_) => Ok(workflow::connect(url).await?),
        }
    }

    /// Makes the schema, the accounts and the table of effects.
    pub async fn fill(&self) -> Result<(), AnyError> {
        self.open(&self.url(), 1).await?.migrate().await?;
        let accounts = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
             INSERT INTO chaos_account (id, balance) SELECT i, {BALANCE} FROM n"
        );
        match self {
            Place::Postgres(_) => {
                let mut connection = PgConnection::connect(&self.url()).await?;
                connection.execute(sqlx::raw_sql(POSTGRES_TABLES)).await?;
                connection.execute(sqlx::raw_sql(include_str!("../queries/slow_commits.sql"))).await?;
                connection.execute(AssertSqlSafe(accounts)).await?;
            }
            Place::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url()).await?;
                connection.execute(sqlx::raw_sql(SQLITE_TABLES)).await?;
                connection.execute(AssertSqlSafe(accounts)).await?;
            }
        }
        Ok(())
    }

    /// How many runs there are, and how many of them aren't over.
    pub async fn progress(&self) -> Result<(i64, i64), AnyError> {
        const OVER: &str = "status IN ('completed', 'failed', 'cancelled')";
        let count = |table: &str| format!("SELECT count(*), count(*) FILTER (WHERE NOT {OVER}) FROM {table}");
        Ok(match self {
            Place::Postgres(_) => {
                let mut connection = PgConnection::connect(&self.url()).await?;
                let row = connection.fetch_one(AssertSqlSafe(count("workflow.runs"))).await?;
                (row.try_get(0)?, row.try_get(1)?)
            }
            Place::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url()).await?;
                let row = connection.fetch_one(AssertSqlSafe(count("wf_run"))).await?;
                (row.try_get(0)?, row.try_get(1)?)
            }
        })
    }
}

impl Postgres {
    async fn start(directory: &Path, full_disk: bool) -> Result<Self, AnyError> {
        let options = ServerOptions::new().set("shared_buffers", "256MB").set("max_wal_size", "512MB");
        // For the checker.
        let options = options.set("track_commit_timestamp", "on");
        let server = Server::start(options).await?;
        let disk = if full_disk { Disk::mount(directory) } else { None };
        if let Some(disk) = &disk {
            let mut admin = PgConnection::connect(&server.url("postgres")).await?;
            let place = disk.tables.display();
            admin.execute(AssertSqlSafe(format!("CREATE TABLESPACE small LOCATION '{place}'"))).await?;
            // Databases are made there from now on.
            admin.execute("ALTER SYSTEM SET default_tablespace = 'small'").await?;
            admin.execute("SELECT pg_reload_conf()").await?;
        }
        let database = server.create_database().await?;
        Ok(Self { server, database, disk, exclusive: Mutex::new(()) })
    }

    /// A session that no line is before.
    pub async fn admin(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.server.url("postgres")).await
    }

    /// Waits until the server takes connections.
    pub async fn up(&self) {
        while self.admin().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many lines of the server's log hold this.
    pub fn logged(&self, what: &str) -> u64 {
        let log = std::fs::read(self.server.directory().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(what)).count() as u64
    }
}

/// A small file system in memory, for tables only: the log stays on the real disk.
#[derive(Debug)]
pub struct Disk {
    mount: PathBuf,
    tables: PathBuf,
}

impl Disk {
    /// `None` where mounting isn't possible.
    fn mount(directory: &Path) -> Option<Self> {
        let run = |program: &str, arguments: &[&str]| {
            let status =
                std::process::Command::new(program).args(arguments).stderr(std::process::Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let mount = directory.join("disk");
        std::fs::create_dir_all(&mount).ok()?;
        let shown = mount.to_str()?.to_owned();
        if !run("mount", &["-t", "tmpfs", "-o", &format!("size={DISK}"), "tmpfs", &shown]) {
            return None;
        }
        let tables = mount.join("tables");
        let disk = Self { tables, mount };
        std::fs::create_dir(&disk.tables).ok()?;
        (run("chmod", &["755", &shown]) && run("chown", &["postgres", disk.tables.to_str()?])).then_some(disk)
    }

    /// Takes all the space that is left, until what it returns is dropped.
    pub async fn fill(&self) -> Option<Ballast> {
        let ballast = Ballast(self.mount.join("ballast"));
        // Somebody may take some of it meanwhile.
        let script = "for try in 1 2 3 4 5 6 7 8; do n=$(df --output=avail -k \"$(dirname \"$0\")\" | tail -1); \
            fallocate -l $((n * 1024)) \"$0\" 2>/dev/null && exit 0; done; exit 1";
        let filled = tokio::process::Command::new("sh").args(["-c", script]).arg(&ballast.0).status().await;
        filled.is_ok_and(|status| status.success()).then_some(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server's last processes may still be there.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

/// A file that leaves no space for others.
pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
