//! Where cargo puts the examples, and how they are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;

/// The program of an example, built if cargo was told to build this test only.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/PROFILE/deps/this
    let profile = test.ancestors().nth(2).expect("cargo's layout").to_owned();
    let examples = profile.join("examples");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    if is_up_to_date(&examples, &sources) {
        return examples;
    }
    let name = profile.file_name().map(|name| name.to_string_lossy().into_owned()).expect("cargo's layout");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--examples", "--all-features", "--profile", if name == "debug" { "dev" } else { &name }])
        .arg("--target-dir")
        .arg(profile.parent().expect("cargo's layout"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the examples don't build");
    examples
}

/// Whether every example is there and newer than its sources. (The library is cargo's business.)
fn is_up_to_date(examples: &Path, sources: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    fs::read_dir(sources).expect("there are examples").flatten().all(|source| {
        let path = source.path();
        let built = changed(&examples.join(path.file_stem().expect("a file has a name")));
        let newest: Option<SystemTime> = match fs::read_dir(&path) {
            Ok(files) => files.flatten().filter_map(|file| changed(&file.path())).max(),
            Err(_) => changed(&path),
        };
        built.is_some() && built >= newest
    })
}

/// Runs an example to its end.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).output().expect("it starts")
}

/// A directory of its own in the system's temporary one, deleted when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("workflow-examples-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).expect("creates a directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Best effort: a directory left in the temporary one is no failed test.
        let _ = fs::remove_dir_all(&self.0);
    }
}
