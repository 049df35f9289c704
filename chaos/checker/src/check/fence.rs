//! Who owned a run when: told by which process ran its bodies, and whose outcomes were recorded.

use super::Violation;
use super::evidence::Evidence;
use super::facts::{Body, Facts};

/// I8.
///
/// An outcome that names its body (the field `body` of its JSON) was recorded by that body's process. When a body of the
/// same run began in another process in between, the run belonged to that one by then. In between is until the commit,
/// where the database tells when that was.
pub(super) fn nothing_stale(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for &run in facts.bodies_of.keys() {
        for entry in facts.dump.journal(run).iter().filter(|entry| entry.phase == "ok") {
            if !matches!(entry.key.kind.as_str(), "step" | "transaction") {
                continue;
            }
            let Some(id) = entry.json().and_then(|value| value["body"].as_u64()) else { continue };
            let Some(body) = facts.by_seq.get(&id).map(|&index| &facts.bodies[index]) else {
                let what = format!("{} is recorded as what body {id} did, which never began", entry.key);
                found.push(facts.violation("I8", Some(run), what, Evidence::default().entry(run, entry)));
                continue;
            };
            let slice = || Evidence::default().entry(run, entry).line(body.line);
            if body.step.run != run || body.op() != entry.key {
                let what = format!("{} is recorded as what body {id} did, which is of {}", entry.key, body.step);
                found.push(facts.violation("I8", Some(run), what, slice()));
                continue;
            }
            let taken = facts.bodies_of(run).find(|other| {
                other.process != body.process
                    && other.line.seq > body.line.seq
                    && other.began > body.line.at
                    && other.line.at < entry.committed_at.unwrap_or(entry.recorded_at)
                    && facts.thawed_into(other, body.line.at).is_none()
            });
            if let Some(other) = taken {
                let what = format!(
                    "{} was recorded by {} after the run had gone on in {}",
                    entry.key, body.process, other.process
                );
                found.push(facts.violation("I8", Some(run), what, slice().line(other.line)));
            }
        }
    }
    found
}

/// I9.
pub(super) fn one_owner(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let lives: std::collections::BTreeSet<_> = facts.dump.executors.iter().map(|executor| executor.id).collect();
    for row in facts.dump.runs.values() {
        let what = match row.owner {
            Some(owner) if !lives.contains(&owner) => format!("it belongs to {owner}, which isn't registered"),
            Some(_) if row.status != "running" => format!("it is {} and owned", row.status),
            None if row.status == "running" => "it is running and owned by nobody".to_owned(),
            _ => continue,
        };
        found.push(facts.violation("I9", Some(row.id), what, Evidence::default().run(row)));
    }
    for &run in facts.bodies_of.keys() {
        let bodies: Vec<_> = facts.bodies_of(run).collect();
        for (index, body) in bodies.iter().enumerate() {
            let clash = bodies[index + 1..].iter().find(|other| clashes(facts, body, other));
            if let Some(other) = clash {
                let what =
                    format!("{} and {} both ran it, and no fault had hit the first", body.process, other.process);
                let slice =
                    Evidence::default().line(body.line).lines(body.ended.map(|(line, _)| line)).line(other.line);
                found.push(facts.violation("I9", Some(run), what, slice));
                break;
            }
        }
    }
    found
}

/// Whether `other` began in another process while `body` went on, though nothing had happened to the latter's lease.
fn clashes(facts: &Facts<'_>, body: &Body<'_>, other: &Body<'_>) -> bool {
    let Some((ended, _)) = body.ended else { return false };
    other.process != body.process
        && other.began > body.line.at
        && other.line.seq < ended.seq
        && !facts.was_ended(body.process, body.line.at - chrono::TimeDelta::microseconds(facts.lease_us), other.line.at)
        && facts.thawed_into(other, body.line.at).is_none()
}
