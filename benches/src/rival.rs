//! The rivals: a program of a workspace of its own, so that their dependencies stay out of ours.
//!
//! `workflow-rivals list` prints what there is, `workflow-rivals run RIVAL WORKLOAD --url URL --seconds N [--in-flight N]
//! [--size N]` measures once and prints what it found.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::process::Command;

use crate::AnyError;
use crate::figure::Figures;
use crate::workload::{Case, Spec};

/// How long a measurement may take beyond three times what it measures for: no rival that came near the best one took longer.
const LIMIT: Duration = Duration::from_secs(60);

/// How the complaint about one begins that took longer.
const NOT_OVER: &str = "it was killed, as it wasn't over after";

/// Whether a rival was given up because it took so long; it would the next time as well.
pub fn took_too_long(complaint: &str) -> bool {
    complaint.starts_with(NOT_OVER)
}

/// What a rival says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Rival {
    pub rival: String,
    pub version: String,
    pub workloads: Vec<String>,
    #[serde(default)]
    pub settings: Map<String, Value>,
}

/// What a rival found.
#[derive(Debug, Clone, Deserialize)]
pub struct Found {
    #[serde(default)]
    pub settings: Map<String, Value>,
    pub figures: Figures,
}

/// The program, and who is in it.
pub struct Rivals {
    program: PathBuf,
    pub all: Vec<Rival>,
}

/// Where they live.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals")
}

impl Rivals {
    /// Nobody.
    pub fn none() -> Self {
        Self { program: PathBuf::new(), all: Vec::new() }
    }

    /// Builds the program and asks it who there is.
    pub async fn build() -> Result<Self, AnyError> {
        let manifest = directory().join("Cargo.toml");
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--release", "--message-format=json-render-diagnostics", "--manifest-path"])
            .arg(&manifest);
        let built = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await?;
        let messages = String::from_utf8_lossy(&built.stdout).into_owned();
        let program = messages.lines().filter_map(executable).next_back().filter(|_| built.status.success());
        let manifest = manifest.display();
        let program = program
            .ok_or_else(|| format!("the rivals didn't build: cargo build --release --manifest-path {manifest}"))?;
        let all = answer(Command::new(&program).arg("list"), Duration::from_secs(60)).await?;
        Ok(Self { program, all: serde_json::from_str(&all)? })
    }

    /// Who has this workload.
    pub fn of<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Rival> {
        self.all.iter().filter(move |rival| rival.workloads.iter().any(|known| known == workload))
    }

    /// Measures once.
    pub async fn run(
        &self,
        rival: &Rival,
        spec: &Spec,
        case: &Case,
        url: &str,
        seconds: f64,
    ) -> Result<Found, AnyError> {
        let mut command = Command::new(&self.program);
        // Whole seconds: a workload without a time of its own is over when it is over.
        let seconds = (seconds.ceil() as u64).max(1);
        command.args(["run", &rival.rival, spec.id, "--url", url, "--seconds", &seconds.to_string()]);
        for (option, value) in [("--in-flight", case.in_flight), ("--size", case.size)] {
            if value > 0 {
                command.args([option, &value.to_string()]);
            }
        }
        let text = answer(&mut command, LIMIT + Duration::from_secs(seconds * 3)).await?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{} answered {text:?}: {error}", rival.rival))?)
    }
}

/// The program that a message of cargo tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_ours = message["target"]["name"] == "workflow-rivals";
    message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
}

/// The last line that a program prints.
async fn answer(command: &mut Command, limit: Duration) -> Result<String, AnyError> {
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = output.map_err(|_| format!("{NOT_OVER} {} s", limit.as_secs()))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let complaint = text(&output.stderr);
        let end: Vec<&str> = complaint.lines().rev().take(3).collect();
        return Err(format!(
            "it ended with {}: {}",
            output.status,
            end.into_iter().rev().collect::<Vec<_>>().join(" | ")
        )
        .into());
    }
    let printed = text(&output.stdout);
    Ok(printed.lines().last().unwrap_or_default().to_owned())
}
