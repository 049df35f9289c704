//! What the bodies of workflows tell the test, and how the test holds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

/// Notes that bodies leave, and gates that hold them.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    notes: Mutex<Vec<String>>,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    inside: Mutex<HashMap<String, (usize, usize)>>,
}

impl Probe {
    pub fn note(&self, note: impl Into<String>) {
        self.0.notes.lock().expect("no panic").push(note.into());
    }

    pub fn notes(&self) -> Vec<String> {
        self.0.notes.lock().expect("no panic").clone()
    }

    pub fn count(&self, note: &str) -> usize {
        self.0.notes.lock().expect("no panic").iter().filter(|n| *n == note).count()
    }

    /// Waits until the note is there so many times.
    pub async fn noted(&self, note: &str, times: usize) {
        super::until(&format!("{times} times {note:?} in {:?}", self.notes()), || self.count(note) >= times).await;
    }

    fn gate(&self, name: &str) -> Arc<Semaphore> {
        let mut gates = self.0.gates.lock().expect("no panic");
        gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    /// A body waits here until the gate is opened.
    pub async fn pass(&self, gate: &str) {
        let gate = self.gate(gate);
        gate.acquire().await.expect("is never closed").forget();
    }

    /// Lets so many bodies pass.
    pub fn open(&self, gate: &str, bodies: usize) {
        self.gate(gate).add_permits(bodies);
    }

    /// Counts who is inside until dropped.
    pub fn enter(&self, room: &str) -> Inside {
        let mut rooms = self.0.inside.lock().expect("no panic");
        let (now, most) = rooms.entry(room.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Inside { probe: self.clone(), room: room.to_owned() }
    }

    pub fn inside(&self, room: &str) -> usize {
        self.0.inside.lock().expect("no panic").get(room).map_or(0, |(now, _)| *now)
    }

    /// The most that were ever inside at once.
    pub fn most(&self, room: &str) -> usize {
        self.0.inside.lock().expect("no panic").get(room).map_or(0, |(_, most)| *most)
    }
}

/// Somebody inside a room.
#[derive(Debug)]
pub struct Inside {
    probe: Probe,
    room: String,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some((now, _)) = self.probe.0.inside.lock().expect("no panic").get_mut(&self.room) {
            *now -= 1;
        }
    }
}
