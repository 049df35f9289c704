//! Directories that go when the test is over, and factories.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::path::PathBuf;

/// A directory of its own in the system's temporary one, deleted when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("workflow-sqlite-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs and turns that default everything.
pub mod make {
    use std::time::Duration;

    use workflow_core::journal::{Fact, OpKey, Phase};
    use workflow_core::store::{Claim, NewRun, Turn};
    use workflow_core::{ExecutorId, Payload, RunId};

    pub const LONG: Duration = Duration::from_secs(3_600);

    pub fn run() -> NewRun {
        let input = Payload { codec: 0, bytes: br#"{"a":1}"#.to_vec() };
        NewRun {
            id: RunId::generate(),
            workflow: "order".to_owned(),
            version: 1,
            queue: "default".to_owned(),
            input_digest: input.digest(),
            input,
            invoke_id: None,
            parent: None,
            depth: 0,
            delay: None,
            retain: LONG,
            owner: None,
        }
    }

    pub fn fact(name: &str) -> Fact {
        let payload = Payload { codec: 0, bytes: b"42".to_vec() };
        Fact { key: OpKey::new("step", name, 1), phase: Phase::Ok, payload, mark: None }
    }

    pub fn turn(run: RunId, position: u32, entries: usize) -> Turn {
        Turn { entries: vec![fact("charge"); entries], ..Turn::new(run, position) }
    }

    pub fn claim(executor: ExecutorId, room: u32) -> Claim {
        Claim { executor, queues: vec![("default".to_owned(), room)], workflows: vec![("order".to_owned(), 1)] }
    }
}
