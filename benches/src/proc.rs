//! What Linux says of processes: processor time and memory. Empty on other systems.

use std::fs;

/// Ticks of the processor times in `/proc`: 100 a second on every Linux.
const TICKS_PER_S: f64 = 100.0;

struct Stat {
    pid: u32,
    parent: u32,
    name: String,
    /// Its own time, and that of the children it has waited for.
    seconds: f64,
    reaped_seconds: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets.
    let (front, rest) = text.rsplit_once(") ")?;
    let name = front.split_once(" (")?.1.to_owned();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let parent = fields.get(1)?.parse().ok()?;
    let seconds = (ticks(11) + ticks(12)) / TICKS_PER_S;
    Some(Stat { pid, parent, name, seconds, reaped_seconds: (ticks(13) + ticks(14)) / TICKS_PER_S })
}

fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).collect()
}

/// Processor seconds of a server: its main process, those it has waited for, and those that live.
pub fn server_cpu_s(postmaster: u32) -> Option<f64> {
    let main = stat(postmaster)?;
    let living: f64 = all().iter().filter(|stat| stat.parent == postmaster).map(|stat| stat.seconds).sum();
    Some(main.seconds + main.reaped_seconds + living)
}

/// Processor seconds of this process and of those of the same program that it has started.
pub fn own_cpu_s() -> Option<f64> {
    let own = stat(std::process::id())?;
    let living = all().into_iter().filter(|stat| stat.parent == own.pid && stat.name == own.name);
    Some(own.seconds + own.reaped_seconds + living.map(|stat| stat.seconds).sum::<f64>())
}

/// The main process of the server that this backend belongs to, if it runs on this machine.
pub fn postmaster_of(backend: u32) -> Option<u32> {
    let backend = stat(backend).filter(|stat| stat.name.starts_with("postgres"))?;
    stat(backend.parent).filter(|stat| stat.name.starts_with("postgres")).map(|stat| stat.pid)
}

fn status_bytes(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024.0)
}

/// How much memory this process has now.
pub fn memory_bytes() -> Option<f64> {
    status_bytes("VmRSS:")
}

/// The most memory this process ever had.
pub fn peak_memory_bytes() -> Option<f64> {
    status_bytes("VmHWM:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        assert!(own_cpu_s().expect("on Linux") >= 0.0);
        assert!(peak_memory_bytes() >= memory_bytes());
        assert_eq!(postmaster_of(std::process::id()), None);
    }
}
