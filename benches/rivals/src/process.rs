//! Processes of their own for what takes more than one.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::rival::{Rival, Role, Site};
use crate::{Result, gauge};

/// How long a process may take to say something.
const WITHIN: Duration = Duration::from_secs(120);

/// Another process of this program, killed when dropped.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one.
    pub fn start<R: Rival>(site: &Site) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["process", R::NAME, site.workload.name()]);
        command.args(["--url", &site.url, "--role", site.role.name()]);
        command.args(["--size", &site.size.unwrap_or_default().to_string()]);
        for (name, value) in &site.set {
            command.args(["--set", &format!("{name}={value}")]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("the process has no stdout")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Waits for the word; what came with it.
    pub async fn says(&mut self, word: &str) -> Result<String> {
        let line = tokio::time::timeout(WITHIN, self.lines.next_line()).await??;
        let line = line.ok_or_else(|| format!("the process ended before it was {word}"))?;
        let rest = line.strip_prefix(word).ok_or_else(|| format!("the process says {line}, not {word}"))?;
        Ok(rest.trim().to_owned())
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// What such a process does until it is killed, or the one that measures is.
pub async fn be<R: Rival>(site: &Site) -> Result<()> {
    if site.role == Role::Resume {
        gauge::resuming();
    }
    let rival = R::open(site).await?;
    match site.role {
        Role::Begin => rival.begin(site.size.unwrap_or_default()).await?,
        Role::Execute => gauge::say("open"),
        Role::Whole | Role::Enqueue | Role::Resume => {}
    }
    // Nobody writes: it is closed when the process that measures ends.
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}
