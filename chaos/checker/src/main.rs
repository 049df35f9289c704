//! `workflow-checker ledger`: keeps a ledger until it is killed.

use std::path::PathBuf;
use std::process::ExitCode;

use workflow_checker::ledger::{self, Ledger};

const USAGE: &str = "\
usage: workflow-checker ledger --file FILE --socket SOCKET
           keeps the ledger FILE, and prints `ready` once SOCKET takes records";

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
        _ => Err(USAGE.to_owned()),
    }
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
