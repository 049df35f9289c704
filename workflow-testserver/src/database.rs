//! Fresh databases, one per test.

use std::sync::OnceLock;

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::{Error, Options, Server, random};

/// A fresh, empty database.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    admin: String,
    drop: bool,
}

/// A fresh database for one test, dropped at its end: in the server of `DATABASE_URL`, or else in a server that this
/// process starts at its first call and that goes with the process.
///
/// # Errors
///
/// Those of [`Server::start`]; [`Error::Sql`] when the server of `DATABASE_URL` refuses to make a database.
pub async fn test_database() -> Result<Database, Error> {
    match std::env::var("DATABASE_URL") {
        Ok(url) => Database::create(&url, true).await,
        Err(_) => Database::create(&own_server().await?.url("postgres"), true).await,
    }
}

/// The address of a database that all tests of this process may look at, as `DATABASE_URL` or the process' own server
/// has it: for tests about connections, not about data.
///
/// # Errors
///
/// Those of [`Server::start`].
pub async fn shared_database_url() -> Result<String, Error> {
    match std::env::var("DATABASE_URL") {
        Ok(url) => Ok(url),
        Err(_) => Ok(own_server().await?.url("postgres")),
    }
}

/// The server of this process. A static is never dropped: when the process ends, the watchdog cleans up.
async fn own_server() -> Result<&'static Server, Error> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one_at_a_time = STARTING.lock().await;
    if let Some(server) = SERVER.get() {
        return Ok(server);
    }
    let server = Server::start(Options::default()).await?;
    Ok(SERVER.get_or_init(|| server))
}

impl Database {
    /// From `template0`, which nobody can be connected to, so that making one never waits for another.
    pub(crate) async fn create(admin: &str, drop: bool) -> Result<Self, Error> {
        let name = format!("workflow_test_{}", random::word());
        let url = with_database(admin, &name).ok_or(Error::DatabaseUrl)?;
        let mut connection = PgConnection::connect(admin).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await?;
        connection.close().await?;
        Ok(Self { name, url, admin: admin.to_owned(), drop })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The database's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool of up to this many connections to it. All of a server's tests share its 300.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the first connection fails.
    pub async fn pool(&self, connections: u32) -> Result<PgPool, Error> {
        Ok(PgPoolOptions::new().max_connections(connections).connect(&self.url).await?)
    }
}

impl Drop for Database {
    /// Drops it in the server, whoever is still connected, so that hundreds of tests don't fill the disk and the server
    /// goes quickly. Best effort: on a thread of its own, as the runtime may be the one that is going down.
    fn drop(&mut self) {
        if !self.drop {
            return;
        }
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = std::mem::take(&mut self.admin);
        let (done, dropped) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _done = done;
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async move {
                if let Ok(mut connection) = PgConnection::connect(&admin).await {
                    let _ = connection.execute(AssertSqlSafe(statement)).await;
                }
            });
        });
        // Disconnected: the thread has ended.
        let _ = dropped.recv_timeout(std::time::Duration::from_secs(1));
    }
}

/// The address with another database; host, credentials and parameters stay.
fn with_database(url: &str, name: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| ["postgres", "postgresql"].contains(scheme))?;
    let (place, parameters) = rest.split_once('?').map_or((rest, None), |(place, p)| (place, Some(p)));
    let host = place.split('/').next().unwrap_or_default();
    let parameters = parameters.map_or_else(String::new, |parameters| format!("?{parameters}"));
    Some(format!("{scheme}://{host}/{name}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_keeps_the_rest_of_the_address() {
        for (url, expected) in [
            ("postgres://u:p@h:5/a?sslmode=disable", Some("postgres://u:p@h:5/b?sslmode=disable")),
            ("postgresql:///a?host=/var/run", Some("postgresql:///b?host=/var/run")),
            ("postgres://h", Some("postgres://h/b")),
            ("mysql://h/a", None),
        ] {
            assert_eq!(with_database(url, "b").as_deref(), expected, "{url}");
        }
    }
}
