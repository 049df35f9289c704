//! Servers that refuse work for now, or for good: standby, no connections left, no space left.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use workflow::postgres::{PgOptions, PgStore};
use workflow::{Client, RunId, Store};
use workflow_testserver::{Options, Server, Shutdown, test_database};

use crate::flow;
use crate::support::{Narrow, PATIENCE, run_sql, skipped, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_refused_and_writes_again_afterwards() {
    let database = test_database().await.expect("a database");
    PgStore::connect(database.url()).await.expect("connects").migrate().await.expect("migrates");
    let set = |value: &str| format!("ALTER DATABASE {} SET default_transaction_read_only = {value}", database.name());
    run_sql(database.url(), &set("on")).await;
    let error = flow::start(PgStore::connect(database.url()).await.expect("connects")).await.expect_err("is refused");
    assert_eq!(error.code(), "STORE_UNUSABLE");
    assert!(error.to_string().contains("read-only") && error.to_string().contains("primary"), "{error}");
    run_sql(database.url(), &format!("BEGIN READ WRITE; {}; COMMIT", set("off"))).await;
    let executor = flow::start(PgStore::connect(database.url()).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "writable").await;
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_free_connections_is_waited_for() {
    let narrow = Narrow::start().await;
    let url = narrow.url.clone();
    let executor = flow::start(PgStore::connect(&url).await.expect("connects")).await.expect("starts");
    let client = executor.client();
    let run = client.invoke(flow::waits, ()).await.expect("invokes");
    // Others take what is left.
    let others = narrow.fill().await;
    let error = PgStore::connect(&url).await.expect_err("no connection is left");
    assert_eq!(error.code(), "STORE_UNAVAILABLE");
    assert!(error.to_string().contains("53300") && error.to_string().contains("max_connections"), "{error}");
    for other in others {
        other.close().await.expect("closes");
    }
    let second = Client::new(Arc::new(PgStore::connect(&url).await.expect("there is room again")));
    second.emit_to("go", &run.id().to_string(), &5u64).await.expect("emits");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
    flow::run_all(&client, "room").await;
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test]
async fn a_pool_that_gets_no_more_connections_shares_those_it_has() {
    let narrow = Narrow::start().await;
    let url = narrow.url.clone();
    let store = Arc::new(PgStore::connect(&url).await.expect("connects"));
    store.migrate().await.expect("migrates");
    let _others = narrow.fill().await;
    let run = RunId::generate();
    // Statements that are their own transaction, and transactions.
    let read = |_| async { store.journal(run, 0, 10).await.map(drop) };
    let begin = |_| async { store.begin_user(Duration::from_secs(1)).await.map(drop) };
    let (read, begun) = tokio::join!(join_all((0..30).map(read)), join_all((0..30).map(begin)));
    for answer in read.into_iter().chain(begun) {
        answer.expect("a connection that another one is done with");
    }
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user can't mount one.
    fn mounted(megabytes: u32) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("workflow-disk-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        let size = format!("size={megabytes}m,mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        std::fs::remove_dir(&path).expect("is empty");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.ballast()).expect("can be created");
        for size in [1 << 20, 4 << 10] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_for_and_needs_mount() {
    let Some(disk) = SmallDisk::mounted(160) else {
        return skipped("this user can't mount a small file system, so there is no disk to fill");
    };
    let options = Options::new().parent(&disk.0).set("wal_keep_size", "0").set("max_wal_size", "32MB");
    let server = Server::start(options.set("shared_buffers", "1MB")).await.expect("a server");
    let store = PgStore::connect_with(PgOptions::new(server.url("postgres"))).await.expect("connects");
    let executor = flow::start(store).await.expect("starts");
    let client = executor.client();
    let waiting = client.invoke(flow::waits, ()).await.expect("invokes");
    flow::run_all(&client, "before").await;
    disk.fill();
    // Until nothing goes through any more: every page that is still there gets used up.
    let load = "x".repeat(1 << 20);
    let refused = soon("it is full", async {
        loop {
            if let Err(error) = client.emit("load", &load).await {
                return error;
            }
        }
    })
    .await;
    assert!(["STORE_UNAVAILABLE", "COMMIT_UNKNOWN"].contains(&refused.code()), "{}: {refused}", refused.code());
    println!("a full disk says: {refused}");
    std::fs::remove_file(disk.ballast()).expect("can be removed");
    // A log that can't grow takes the server down; somebody has to start it again.
    let back =
        async || match tokio::time::timeout(Duration::from_secs(5), PgConnection::connect(&server.url("postgres")))
            .await
        {
            Ok(Ok(_)) => true,
            _ => {
                let _ = server.down(Shutdown::Immediate).await;
                server.up().await.is_ok()
            }
        };
    until("the server is back", back).await;
    let told = async || client.emit_to("go", &waiting.id().to_string(), &7u64).await.is_ok();
    until("events come through again", told).await;
    assert_eq!(soon("result", waiting.result()).await.expect("completes"), 7);
    until("everything works again", async || client.status(waiting.id()).await.is_ok()).await;
    flow::run_all(&client, "after").await;
    tokio::time::timeout(PATIENCE, executor.shutdown()).await.expect("in time").expect("shuts down");
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused_and_works_when_promoted() {
    let server = Server::start(Options::default()).await.expect("a server");
    let url = server.url("postgres");
    PgStore::connect(&url).await.expect("connects").migrate().await.expect("migrates");
    server.down(Shutdown::Fast).await.expect("goes down");
    // It then waits for more of the log of a primary, that nobody sends.
    std::fs::write(server.directory().join("data/standby.signal"), "").expect("can be written");
    server.up().await.expect("comes up");
    let error = flow::start(PgStore::connect(&url).await.expect("connects")).await.expect_err("is refused");
    assert_eq!(error.code(), "STORE_UNUSABLE");
    assert!(error.to_string().contains("standby") && error.to_string().contains("primary"), "{error}");
    run_sql(&url, "SELECT pg_promote(TRUE, 30)").await;
    let executor = flow::start(PgStore::connect(&url).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "promoted").await;
    executor.shutdown().await.expect("shuts down");
}
