//! Other processes of this program: it runs itself again, with its task in the environment.

use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::AnyError;
use crate::stage::Setup;

/// Where a process finds its task.
const SETUP: &str = "WORKFLOW_BENCH_SETUP";

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Measures once and prints what it found.
    Measure,
    /// Fills the database for a measurement, and prints what that needs to know.
    Prepare,
    /// Runs an executor until its input ends, then prints what it saw.
    Execute,
}

impl Role {
    const ALL: [(Role, &'static str); 3] =
        [(Role::Measure, "measure-once"), (Role::Prepare, "prepare-once"), (Role::Execute, "execute")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    /// What this process is, if it was started by another one of the program.
    pub fn of_this_process() -> Result<Option<(Role, Setup)>, AnyError> {
        let Some(word) = std::env::args().nth(1) else { return Ok(None) };
        let Some((role, _)) = Self::ALL.iter().find(|(_, known)| *known == word) else { return Ok(None) };
        let setup = std::env::var(SETUP).map_err(|_| format!("{word} is for the program's own processes"))?;
        Ok(Some((*role, serde_json::from_str(&setup)?)))
    }
}

fn command(role: Role, setup: &Setup) -> Result<Command, AnyError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role.word()).env(SETUP, serde_json::to_string(setup)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Longer than anything takes that isn't stuck, beyond the time that it was given.
const LIMIT_S: f64 = 1_800.0;

/// Runs a process to its end and takes its answer. What it complains of is passed on, and is the error when it fails.
pub async fn run<T: DeserializeOwned>(role: Role, setup: &Setup) -> Result<T, AnyError> {
    let child = command(role, setup)?.stderr(Stdio::piped()).spawn()?;
    let limit = setup.seconds.mul_add(3.0, LIMIT_S);
    let output = tokio::time::timeout(Duration::from_secs_f64(limit), child.wait_with_output()).await;
    let output = output.map_err(|_| format!("{} was killed, as it wasn't over after {limit} s", role.word()))??;
    let complaint = String::from_utf8_lossy(&output.stderr);
    eprint!("{complaint}");
    if !output.status.success() {
        let last = complaint.lines().last().unwrap_or_default();
        return Err(format!("{} of {} ended with {}: {last}", role.word(), setup.workload, output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A process that runs an executor.
pub struct Executing {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// The name that its executor has in the store.
    pub name: String,
}

impl Executing {
    /// Starts it, and waits until its executor has begun.
    pub async fn start(setup: &Setup) -> Result<Self, AnyError> {
        let mut child = command(Role::Execute, setup)?.spawn()?;
        let output = child.stdout.take().ok_or("the output of a process is read")?;
        let mut lines = BufReader::new(output).lines();
        let name = lines.next_line().await?.ok_or("an executor's process ended before it began")?;
        let input = child.stdin.take();
        Ok(Self { child, input, lines, name })
    }

    /// `kill -9`.
    pub async fn kill(mut self) -> Result<(), AnyError> {
        Ok(self.child.kill().await?)
    }

    /// Ends it in good order and takes its answer.
    pub async fn finish<T: DeserializeOwned>(mut self) -> Result<T, AnyError> {
        drop(self.input.take());
        let answer = self.lines.next_line().await?.ok_or("an executor's process ended without an answer")?;
        self.child.wait().await?;
        Ok(serde_json::from_str(&answer)?)
    }
}

/// Returns when the process that started this one has nothing more for it, or is gone.
pub async fn told_to_end() {
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}
