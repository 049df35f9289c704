//! `workflow-checker ledger` keeps a ledger until it is killed; `workflow-checker check` compares one with the tables.

use std::path::PathBuf;
use std::process::ExitCode;

use workflow_checker::check;
use workflow_checker::dump::Dump;
use workflow_checker::ledger::{self, Ledger};

const USAGE: &str = "\
usage: workflow-checker ledger --file FILE --socket SOCKET
           keeps the ledger FILE, and prints `ready` once SOCKET takes records
       workflow-checker check --ledger FILE --store URL [--seed SEED]
           compares FILE with the tables of URL (postgres:.. or sqlite:..), prints its verdict as JSON, and exits with
           0 when nothing is wrong, 1 when something is, 2 when it couldn't look";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(code) => code,
        Err(message) => {
            eprintln!("workflow-checker: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &[String]) -> Result<ExitCode, String> {
    match arguments.first().map(String::as_str) {
        Some("ledger") => {
            let options = Options::parse(&arguments[1..])?;
            let ledger = Ledger::open(options.path("--file")?).map_err(|error| error.to_string())?;
            let ready = || println!("ready");
            ledger::serve(ledger, &options.path("--socket")?, ready).await.map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Some("check") => check(&Options::parse(&arguments[1..])?).await,
        _ => Err(USAGE.to_owned()),
    }
}

async fn check(options: &Options) -> Result<ExitCode, String> {
    let seed = options.find("--seed").map(str::parse).transpose().map_err(|error| format!("--seed: {error}"))?;
    let url = options.find("--store").ok_or_else(|| format!("--store is missing\n{USAGE}"))?;
    // The tables first: the ledger must know of everything that is in them.
    let dump = Dump::read(url).await.map_err(|error| error.to_string())?;
    let lines = ledger::read(&options.path("--ledger")?).map_err(|error| error.to_string())?;
    let verdict = check::verdict(&lines, &dump, &check::Options { seed, ..check::Options::default() });
    println!("{}", serde_json::to_string_pretty(&verdict).map_err(|error| error.to_string())?);
    Ok(if verdict.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `--name value` pairs.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let pair = |pair: &[String]| match pair {
            [name, value] if name.starts_with("--") => Ok((name.clone(), value.clone())),
            _ => Err(format!("{pair:?} is no option with its value\n{USAGE}")),
        };
        arguments.chunks(2).map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn path(&self, name: &str) -> Result<PathBuf, String> {
        self.find(name).map(PathBuf::from).ok_or_else(|| format!("{name} is missing\n{USAGE}"))
    }
}
