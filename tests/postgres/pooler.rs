//! PgBouncer in front of the server: in session mode it works, in transaction mode it is recognised and refused.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use workflow::postgres::{PgOptions, PgStore};
use workflow_testserver::{Options, Server};

use crate::flow;
use crate::support::{program, run_sql, skipped, until};

/// A running pooler, ended when dropped.
struct Bouncer {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Bouncer {
    async fn start(program: &PathBuf, server: &Server, mode: &str, more: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("workflow-bouncer-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("the temporary directory can be written");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let configuration = directory.join("pgbouncer.ini");
        let mut file = std::fs::File::create(&configuration).expect("can be created");
        write!(
            file,
            "[databases]\n* = host=127.0.0.1 port={} user=app password=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n{more}\n",
            server.port()
        )
        .expect("can be written");
        let mut command = Command::new(program);
        command.arg(&configuration).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It refuses to run as root, and needs no rights at all.
        if std::fs::metadata(&directory).is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0) {
            command.uid(65_534).gid(65_534);
        }
        let child = command.spawn().expect("can be run");
        until("the pooler listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        Self { child, directory, port }
    }

    fn url(&self) -> String {
        format!("postgres://app:app@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const IGNORING: &str = "ignore_startup_parameters = extra_float_digits";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_mode_is_refused_session_mode_works_and_needs_pgbouncer() {
    let Some(program) = program("pgbouncer") else {
        return skipped("there is no pgbouncer: apt-get install pgbouncer");
    };
    let server = Server::start(Options::default()).await.expect("a server");
    let make = "CREATE ROLE app LOGIN PASSWORD 'app'; GRANT CREATE ON DATABASE postgres TO app; GRANT ALL ON SCHEMA public TO app";
    run_sql(&server.url("postgres"), make).await;
    let session = Bouncer::start(&program, &server, "session", IGNORING).await;
    let executor = flow::start(PgStore::connect(&session.url()).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "session").await;
    executor.shutdown().await.expect("shuts down");

    let strict = Bouncer::start(&program, &server, "session", "").await;
    let error = PgStore::connect(&strict.url()).await.expect_err("refuses a parameter of the driver");
    assert_eq!(error.code(), "STORE_UNUSABLE");
    assert!(error.to_string().contains("ignore_startup_parameters") && error.to_string().contains("pooler"), "{error}");

    for more in ["", "default_pool_size = 1", "server_round_robin = 1"] {
        let pooler = Bouncer::start(&program, &server, "transaction", &format!("{IGNORING}\n{more}")).await;
        let options = PgOptions::new(pooler.url()).acquire_timeout(Duration::from_secs(2));
        let refusal = PgStore::connect_with(options).await.expect_err("is refused");
        assert_eq!(refusal.code(), "STORE_UNUSABLE", "{more}: {refusal}");
        for words in ["pooler in transaction mode", "server itself", "session mode"] {
            assert!(refusal.to_string().contains(words), "{words:?} is missing in: {refusal}");
        }
        // A pool of the user's is looked at as well.
        let pool = PgPoolOptions::new().connect_lazy(&pooler.url()).expect("a URL");
        let refusal = PgStore::from_pool(pool).await.expect_err("is refused");
        assert!(refusal.to_string().contains("pooler in transaction mode"), "{more}: {refusal}");
    }
    // Nothing was left in the sessions that the pooler keeps for others.
    let executor = flow::start(PgStore::connect(&session.url()).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "after").await;
    executor.shutdown().await.expect("shuts down");
}
