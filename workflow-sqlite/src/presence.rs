//! A detector of dead processes that is faster than their leases, and proves their death.
//!
//! For every executor its process holds a lock on a file of its own beside the database, `runs.db-executor-ID`. The
//! system frees the lock when the process ends, however it ends; nobody else does. Whoever gets the lock of an executor
//! that has a lease ends the lease. A process that is frozen keeps its lock, and so does one in which only the executor
//! was dropped: there the lease decides. So it does wherever the file is missing or can't be locked.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;
use workflow_core::ExecutorId;

/// How often an executor tries to lock its own file: another process may be looking just then.
const TRIES: u32 = 100;

/// The executors that live here, and the others of the file.
#[derive(Debug)]
pub(crate) struct Presence {
    database: PathBuf,
    /// Our executors, each with its locked file.
    held: Mutex<HashMap<Uuid, File>>,
    /// Executors with a lease that may live elsewhere.
    peers: Mutex<Vec<ExecutorId>>,
}

impl Presence {
    pub(crate) fn of(database: &Path) -> Self {
        Self { database: database.to_owned(), held: Mutex::default(), peers: Mutex::default() }
    }

    fn file(&self, executor: ExecutorId) -> PathBuf {
        let mut file = OsString::from(&self.database);
        file.push(format!("-executor-{}", executor.0.simple()));
        file.into()
    }

    /// An executor is about to register here.
    pub(crate) fn enter(&self, executor: ExecutorId) {
        if self.held().contains_key(&executor.0) {
            return;
        }
        match hold(&self.file(executor)) {
            Ok(file) => {
                self.held().insert(executor.0, file);
            }
            Err(error) => {
                tracing::debug!(%error, %executor, "others will notice this executor's death by its lease only");
                self.bury(executor);
            }
        }
    }

    /// An executor is closed, or was found dead.
    pub(crate) fn bury(&self, executor: ExecutorId) {
        // First the name, then the lock: whoever finds the file finds it locked.
        let _ = std::fs::remove_file(self.file(executor));
        self.held().remove(&executor.0);
    }

    /// Whom to look after from now on. Our own are none of them.
    pub(crate) fn watch(&self, mut executors: Vec<ExecutorId>) {
        executors.retain(|executor| !self.held().contains_key(&executor.0));
        *self.peers() = executors;
    }

    /// Those of the others whose process has ended. Each is told once, unless it is to be watched again.
    pub(crate) fn gone(&self) -> Vec<ExecutorId> {
        let mut peers = self.peers();
        let (gone, there) = peers.drain(..).partition(|peer| is_free(&self.file(*peer)));
        *peers = there;
        gone
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<ExecutorId>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hold(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether a file is there and nobody holds its lock.
fn is_free(path: &Path) -> bool {
    File::options().write(true).open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_its_file_is_there() {
        let directory = std::env::temp_dir().join(format!("workflow-presence-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a directory");
        let database = directory.join("runs.db");
        let (here, elsewhere) = (Presence::of(&database), Presence::of(&database));
        let (ours, theirs) = (ExecutorId::generate(), ExecutorId::generate());
        here.enter(ours);
        elsewhere.enter(theirs);
        let all = vec![ours, theirs, ExecutorId::generate()];
        here.watch(all.clone());
        assert!(here.gone().is_empty(), "two live, and nobody knows of the third");
        // As when its process ends.
        drop(elsewhere);
        assert_eq!(here.gone(), [theirs]);
        assert!(here.gone().is_empty(), "told once");
        here.watch(all);
        here.bury(theirs);
        assert!(here.gone().is_empty(), "nothing of it is left");
        here.bury(ours);
        assert_eq!(std::fs::read_dir(&directory).expect("is readable").count(), 0);
        std::fs::remove_dir(&directory).expect("is empty");
    }
}
