//! Servers, statements and waits.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use workflow_testserver::{Database, Options, Server};

pub use crate::log::{collect, lines_with};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Gives up on what hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never came: {what}"),
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Runs statements.
pub async fn run_sql(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    connection.close().await.expect("closes");
}

/// The address with another user and password.
pub fn login(url: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (_, place) = rest.rsplit_once('@').expect("with a user");
    format!("{scheme}://{user}:{password}@{place}")
}

/// A server with room for 17 connections of an ordinary user, and a database of that user's.
pub struct Narrow {
    _server: Server,
    _database: Database,
    /// The database, as that user.
    pub url: String,
}

impl Narrow {
    pub async fn start() -> Self {
        let options = Options::new().set("max_connections", "20").set("superuser_reserved_connections", "3");
        let server = Server::start(options).await.expect("a server");
        let database = server.create_database().await.expect("a database");
        let role = "CREATE ROLE app LOGIN PASSWORD 'app'; GRANT ALL ON SCHEMA public TO app; GRANT CREATE ON DATABASE";
        run_sql(database.url(), &format!("{role} {} TO app", database.name())).await;
        let url = login(database.url(), "app", "app");
        Self { _server: server, _database: database, url }
    }

    /// Takes the connections that are left.
    pub async fn fill(&self) -> Vec<PgConnection> {
        let mut others = Vec::new();
        while let Ok(other) = PgConnection::connect(&self.url).await {
            others.push(other);
        }
        others
    }
}

/// A program of the machine, which may not be there.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// Says that a test did nothing. Tests that may do so have `needs` in their names: what they print is always shown.
pub fn skipped(why: &str) {
    println!("SKIPPED: {why}");
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
