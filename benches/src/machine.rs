//! On what, when and with which code it was measured.

use std::process::Command;

use serde_json::{Map, Value, json};

/// Cores, memory, processor, kernel.
pub fn describe() -> Map<String, Value> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut machine = Map::new();
    machine.insert("cores".into(), json!(cores));
    machine.insert("processor".into(), json!(field("/proc/cpuinfo", "model name")));
    machine.insert("memory".into(), json!(field("/proc/meminfo", "MemTotal")));
    machine.insert("kernel".into(), json!(read("/proc/sys/kernel/osrelease").trim()));
    machine.insert("load_before".into(), json!(read("/proc/loadavg").trim()));
    machine.insert("system".into(), json!(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)));
    machine.insert("allocator".into(), json!("mimalloc"));
    machine.insert("debug_build".into(), json!(cfg!(debug_assertions)));
    machine
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The date in UTC.
pub fn date() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The commit that the sources are at, with a plus when they were changed since.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}

/// How this program was called.
pub fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).map(|argument| redacted(&argument)).collect();
    format!("cargo run --release -p workflow-bench -- {}", arguments.join(" ")).trim_end_matches([' ', '-']).to_owned()
}

/// An address without its user and password.
fn redacted(argument: &str) -> String {
    match (argument.find("://"), argument.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}...{}", &argument[..scheme + 3], &argument[at..]),
        _ => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_stays_out() {
        assert_eq!(redacted("postgres://me:secret@host/db"), "postgres://...@host/db");
        assert_eq!(redacted("W1"), "W1");
    }
}
