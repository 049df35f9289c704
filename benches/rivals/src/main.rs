//! What other durable-execution crates do on the workloads of `workflow-bench`.
//!
//! `workflow-rivals list` tells of the rivals, `workflow-rivals run RIVAL WORKLOAD --url URL` measures one of them. Both
//! print JSON on stdout and everything else on stderr.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod gauge;
mod options;
mod process;
mod report;
mod rival;
mod rivals;
mod workload;

use options::{Command, Options};

/// Of ours and the rivals' alike: steps are made of small pieces of memory, which pass between threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = AnyError> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    // Nothing below a warning: what is logged costs time, and stdout is for figures.
    let filter = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(filter.unwrap_or(tracing_subscriber::filter::LevelFilter::ERROR))
        .init();
    match Options::parse()? {
        Options { command: Command::List, .. } => println!("{}", rivals::list()),
        Options { command: Command::Run, rival, site } => println!("{}", rivals::run(&rival, &site).await?),
        Options { command: Command::Process, rival, site } => rivals::process(&rival, &site).await?,
    }
    // What a rival still does in the background ends with the process.
    std::process::exit(0)
}
