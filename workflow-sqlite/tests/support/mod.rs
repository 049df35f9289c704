//! Directories that go when the test is over.

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
