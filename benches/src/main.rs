//! Benchmarks: `cargo run --release -p workflow-bench -- [WORKLOAD..] [--store sqlite|postgres|URL] [--seconds N] [--json FILE]`.
//!
//! Starts a durable Postgres of its own when no URL is given. Every figure is set beside a floor that is measured in
//! the same run with rows of the same shape through the same driver: single-row inserts, one a commit.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod floor;
mod options;
mod report;
mod workload;

use std::time::Duration;

use options::{Options, StoreKind};
use report::Report;
use workflow_testserver::{Options as ServerOptions, Server};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let options = Options::parse()?;
    let mut report = Report::default();
    let mut server = None;
    let url = match &options.store {
        StoreKind::Url(url) => url.clone(),
        StoreKind::Postgres => {
            let started = Server::start(ServerOptions::new().set("shared_buffers", "1GB")).await?;
            let database = started.create_database().await?;
            let url = database.url().to_owned();
            server = Some((started, database));
            url
        }
        StoreKind::Sqlite => {
            let directory = std::env::temp_dir().join(format!("workflow-bench-{}", std::process::id()));
            std::fs::create_dir_all(&directory)?;
            format!("sqlite:{}", directory.join("bench.db").display())
        }
    };
    report.describe(&url).await?;
    for name in &options.workloads {
        workload::run(name, &url, Duration::from_secs(options.seconds), &mut report).await?;
    }
    report.print();
    if let Some(file) = &options.json {
        std::fs::write(file, report.json())?;
    }
    if let Some((server, database)) = server {
        drop(database);
        server.stop().await?;
    }
    if let Some(path) = url.strip_prefix("sqlite:").filter(|_| matches!(options.store, StoreKind::Sqlite)) {
        let _ = std::fs::remove_dir_all(std::path::Path::new(path).parent().unwrap_or(std::path::Path::new("")));
    }
    Ok(())
}
