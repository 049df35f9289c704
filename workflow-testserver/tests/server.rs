//! A server comes up durable, survives what tests do to it, and leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failing helper is a failing test, and waits for processes"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection, Row};
use workflow_testserver::{Options, Server, Shutdown, test_database};

async fn setting(url: &str, name: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let row = sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(&mut connection).await.unwrap();
    row.get(0)
}

#[tokio::test]
async fn server_is_durable_and_takes_settings() {
    let server = Server::start(Options::new().set("shared_buffers", "64MB")).await.unwrap();
    let url = server.url("postgres");
    for (name, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("max_connections", "300"),
        ("shared_buffers", "64MB"),
    ] {
        assert_eq!(setting(&url, name).await, value, "{name}");
    }
}

#[tokio::test]
async fn two_servers_live_side_by_side() {
    let (one, two) = tokio::join!(Server::start(Options::new()), Server::start(Options::new()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.port(), two.port());
    let database = one.create_database().await.unwrap();
    assert!(PgConnection::connect(&two.url(database.name())).await.is_err());
    assert!(PgConnection::connect(&one.url(database.name())).await.is_ok());
}

#[tokio::test]
async fn committed_rows_survive_every_way_down() {
    let server = Server::start(Options::new()).await.unwrap();
    let database = server.create_database().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute("CREATE TABLE fact (id integer)").await.unwrap();
    for how in [Shutdown::Kill, Shutdown::Immediate, Shutdown::Fast] {
        connection.execute("INSERT INTO fact VALUES (1)").await.unwrap();
        server.restart(how).await.unwrap();
        assert!(connection.execute("SELECT 1").await.is_err(), "{how:?} kept a connection");
        connection = PgConnection::connect(database.url()).await.unwrap();
    }
    let count: i64 = sqlx::query("SELECT count(*) FROM fact").fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(count, 3);
}

#[tokio::test]
async fn restart_waits_for_the_backends_of_a_killed_server() {
    let server = Server::start(Options::new()).await.unwrap();
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let busy =
        tokio::spawn(async move { connection.execute("SELECT count(*) FROM generate_series(1, 3000000)").await });
    server.restart(Shutdown::Kill).await.unwrap();
    assert!(PgConnection::connect(&server.url("postgres")).await.is_ok());
    let _ = busy.await;
}

#[tokio::test]
async fn drop_leaves_nothing_even_in_a_panic() {
    let server = Server::start(Options::new()).await.unwrap();
    let (directory, port) = (server.directory().to_owned(), server.port());
    let failed = tokio::spawn(async move {
        let _server = server;
        panic!("a failing test");
    });
    assert!(failed.await.is_err());
    assert_gone(&directory, port);
}

#[tokio::test]
async fn drop_of_a_killed_server_leaves_nothing() {
    let server = Server::start(Options::new()).await.unwrap();
    let (directory, port) = (server.directory().to_owned(), server.port());
    let segment = segment(&directory);
    server.kill().await.unwrap();
    server.stop().await.unwrap();
    assert_gone(&directory, port);
    let segments = Command::new("ipcs").arg("-m").output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let left = segments.unwrap_or_default().lines().any(|line| line.split_whitespace().nth(1) == Some(&segment));
    assert!(!left, "shared memory segment {segment} is left");
}

#[test]
fn command_sees_the_server_and_gives_its_exit_code() {
    let script = r#"case "$DATABASE_URL" in postgres://*@127.0.0.1:*/postgres) exit 7;; esac"#;
    let status = testserver(script).status().unwrap();
    assert_eq!(status.code(), Some(7));
}

#[test]
fn terminated_command_is_told_and_the_server_is_gone() {
    let mut child = testserver("echo $DATABASE_URL; exec sleep 100").stdout(Stdio::piped()).spawn().unwrap();
    let (directory, port) = directory_and_port(&mut child);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert_gone(&directory, port);
}

#[test]
fn kill_9_of_the_process_leaves_nothing_either() {
    let mut child = testserver("echo $DATABASE_URL; sleep 100").stdout(Stdio::piped()).spawn().unwrap();
    let (directory, port) = directory_and_port(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_gone(&directory, port);
    // The command was told, too: its end closes the pipe.
    std::io::Read::read_to_end(child.stdout.as_mut().unwrap(), &mut Vec::new()).unwrap();
}

#[tokio::test]
async fn test_databases_are_apart() {
    let (one, two) = tokio::join!(test_database(), test_database());
    for database in [one.unwrap(), two.unwrap()] {
        let pool = database.pool(2).await.unwrap();
        pool.execute("CREATE TABLE mine (id integer)").await.unwrap();
    }
}

#[test]
fn test_database_is_dropped_from_a_server_that_stays() {
    let server = Server::start_blocking(Options::new()).unwrap();
    let url = server.url("postgres");
    let list = || {
        let query = async {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let query = sqlx::query("SELECT count(*) FROM pg_database WHERE datname LIKE 'workflow_test_%'");
            query.fetch_one(&mut connection).await.unwrap().get::<i64, _>(0)
        };
        tokio::runtime::Runtime::new().unwrap().block_on(query)
    };
    let test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "test_databases_are_apart"])
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
    assert_eq!(list(), 0);
}

fn testserver(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testserver"));
    command.args(["run", "--", "sh", "-c", script]);
    command
}

/// Waits for the address that the command prints, and finds the directory by the server's command line.
fn directory_and_port(child: &mut std::process::Child) -> (std::path::PathBuf, u16) {
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.as_mut().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    let port = line.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let server = list.lines().find(|line| line.contains(&format!(" -p {port} "))).unwrap();
    let data = server.split(" -D ").nth(1).unwrap().split(' ').next().unwrap();
    (Path::new(data).parent().unwrap().to_owned(), port)
}

/// The id of the server's shared memory segment.
fn segment(directory: &Path) -> String {
    let state = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    state.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn assert_gone(directory: &Path, port: u16) {
    assert!(!directory.exists(), "{} is left", directory.display());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} still answers");
    let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let name = directory.file_name().unwrap().to_str().unwrap();
    assert!(!list.contains(name), "a process of {name} is left");
}
