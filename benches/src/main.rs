//! Benchmarks: `cargo run --release -p workflow-bench -- [WORKLOAD..] [--store sqlite|postgres|URL] [--seconds N] [--json FILE]
//! [--rivals]`. `benches/README.md` tells of them.
//!
//! Every measurement is a process of its own on a fresh database of a durable Postgres that the program starts. Beside ours
//! stand the floors, which are inserts of the same rows through the same driver, and the rivals, all in one run and in turns.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod bar;
mod clock;
mod code;
mod cost;
mod figure;
mod floor;
mod instructions;
mod load;
mod machine;
mod options;
mod proc;
mod process;
mod replay;
mod report;
mod result;
mod rival;
mod run;
mod server;
mod stage;
mod workload;

use std::collections::BTreeMap;
use std::process::ExitCode;

use bar::Outcomes;
use figure::Figures;
use options::Options;
use process::Role;
use rival::Rivals;
use run::Run;
use server::Place;
use stage::Stage;

/// Of ours and the rivals' alike: steps are made of small pieces of memory, which pass between threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("workflow-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, AnyError> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--help" | "-h") => {
            println!("{}", options::USAGE);
            return Ok(ExitCode::SUCCESS);
        }
        Some("instructions") => {
            let words: Vec<String> = arguments.collect();
            if let Some(unknown) = words.iter().find(|word| *word != "--write") {
                return Err(format!("instructions takes --write, not {unknown}").into());
            }
            return instructions::count(!words.is_empty()).map(|()| ExitCode::SUCCESS);
        }
        Some(instructions::ONCE) => return instructions::replay_once(arguments.next()).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let part = Role::of_this_process()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match part {
            Some((role, setup)) => workload::take_part(role, &Stage { setup }).await.map(|()| ExitCode::SUCCESS),
            None => program().await,
        }
    })
}

async fn program() -> Result<ExitCode, AnyError> {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("workflow-bench: {problem}");
            return Ok(ExitCode::from(2));
        }
    };
    if options.rivals && !rival::directory().is_dir() {
        eprintln!("workflow-bench: --rivals needs the workspace benches/rivals, which isn't here: leave it out");
        return Ok(ExitCode::from(2));
    }
    if cfg!(debug_assertions) && !options.smoke {
        eprintln!("workflow-bench: a debug build, so the figures mean nothing: build with --release, or use --smoke");
    }
    let rivals = if options.rivals { Rivals::build().await? } else { Rivals::none() };
    let place = Place::open(&options.store).await?;
    let server = place.describe().await?;
    let write = |outcomes: &Outcomes, floors: &BTreeMap<String, Figures>| {
        let report = report::json(&options, &server, floors, outcomes);
        if let Some(file) = &options.json {
            std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
        }
        Ok(report)
    };
    let so_far = |outcomes: &Outcomes, floors: &BTreeMap<String, Figures>| write(outcomes, floors).map(drop);
    let (outcomes, floors) = Run::new(&options, &place, &rivals).all(so_far).await?;
    let report = write(&outcomes, &floors)?;
    report::print(&report, &outcomes);
    println!("\n{report}");
    place.close().await?;
    let failed: Vec<&str> = outcomes.iter().filter(|(_, of)| of.has_failed()).map(|(id, _)| id.as_str()).collect();
    if !failed.is_empty() {
        return Err(format!("measurements failed in {}: see `errors`", failed.join(", ")).into());
    }
    Ok(ExitCode::SUCCESS)
}
