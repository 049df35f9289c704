//! Chaos: `cargo run --release -p workflow-chaos -- run [--seconds N] [--seed S] [--store postgres|sqlite]
//! [--faults F1,F2,..] [--json FILE]`, and `.. -- bugs` for a campaign per seeded bug.
//!
//! Starts a durable database, executor processes, and clients that want runs of all kinds done; then breaks whatever can
//! break, by seed, for as long as it is told; then lets everything end, and has the checker compare what clients and step
//! bodies told an independent ledger with what is in the tables. Prints its verdict as JSON, and fails on a violation, or
//! when its faults didn't land.

#![allow(clippy::disallowed_methods, reason = "breaking things at the right moment takes a clock")]

mod bugs;
mod caller;
mod campaign;
mod database;
mod executor;
mod faults;
#[path = "../../tests/support/faulty.rs"]
mod faulty;
mod field;
mod load;
mod measure;
mod options;
mod process;
mod proxy;
mod reader;
mod rng;
mod scan;
mod setup;
mod spy;
mod tally;
mod verdict;
mod wire;
mod work;

use std::process::ExitCode;

use options::Options;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let Err(error) = bugs::choose() {
        eprintln!("workflow-chaos: {error}");
        return ExitCode::from(2);
    }
    let done = match arguments.next().as_deref() {
        Some("bugs") => bugs::main(arguments),
        Some("run") => Options::parse(arguments).and_then(|options| campaign::main(&options)),
        Some("executor") => executor::main().map(|()| true),
        Some("ledger") => campaign::ledger(arguments).map(|()| true),
        _ => Err(options::USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("workflow-chaos: {error}");
            ExitCode::from(2)
        }
    }
}
