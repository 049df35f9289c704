//! Runs a command with a throwaway Postgres in `DATABASE_URL`: `testserver run -- COMMAND ARGUMENTS..`

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use workflow_testserver::{Error, Options, Server};

const USAGE: &str = "usage: testserver run [--set PARAMETER=VALUE].. -- COMMAND ARGUMENTS..";

/// Leads a process group, so that a signal reaches all of the command's processes, whoever sent it to us; and tells the
/// server's watchdog of it, so that the command ends with the server if this process dies by `kill -9`.
const ENTER_GROUP: &str = r#"echo $$ >"$1"; shift; exec "$@""#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((options, command)) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(options, &command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("testserver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<(Options, Vec<String>)> {
    let mut options = Options::new();
    arguments.next().filter(|subcommand| subcommand == "run")?;
    loop {
        match arguments.next()?.as_str() {
            "--" => break,
            "--set" => {
                let setting = arguments.next()?;
                let (parameter, value) = setting.split_once('=')?;
                options = options.set(parameter, value);
            }
            _ => return None,
        }
    }
    let command: Vec<_> = arguments.collect();
    (!command.is_empty()).then_some((options, command))
}

/// The command's exit code; 128 and the signal's number when a signal ended it, as shells have it.
async fn run(options: Options, command: &[String]) -> Result<u8, Error> {
    let mut signals = Signals::listen().map_err(|source| io(source, "listen for signals as", "testserver"))?;
    let server = tokio::select! {
        server = Server::start(options) => server?,
        (_, number) = signals.next() => return Ok(128 + number),
    };
    let groups = server.directory().join("groups");
    let child = Command::new("sh")
        .args(["-c", ENTER_GROUP, "testserver"])
        .arg(&groups)
        .args(command)
        .env("DATABASE_URL", server.url("postgres"))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| io(source, "run", "sh"))?;
    let status = wait(child, &mut signals).await.map_err(|source| io(source, "wait for", "the command"));
    // Gone when the command never came to write it.
    let _ = std::fs::remove_file(groups);
    server.stop().await?;
    let status = status?;
    Ok(status.code().or(status.signal().map(|number| 128 + number)).and_then(|code| code.try_into().ok()).unwrap_or(1))
}

/// Waits for the command, and passes signals on to its group.
async fn wait(mut child: Child, signals: &mut Signals) -> std::io::Result<ExitStatus> {
    let group = child.id().map_or_else(String::new, |id| format!("-{id}"));
    loop {
        tokio::select! {
            status = child.wait() => return status,
            (name, _) = signals.next() => {
                Command::new("kill").args(["-s", name, "--", &group]).status().await?;
            }
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal's name and number.
    async fn next(&mut self) -> (&'static str, u8) {
        tokio::select! {
            _ = self.interrupt.recv() => ("INT", 2),
            _ = self.terminate.recv() => ("TERM", 15),
            _ = self.hangup.recv() => ("HUP", 1),
        }
    }
}

fn io(source: std::io::Error, what: &'static str, path: &str) -> Error {
    Error::Io { what, path: path.into(), source }
}
