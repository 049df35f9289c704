//! A directory tree to make manifests of, the manifest of `sha256sum`, and the example's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use workflow::store::ListFilter;
use workflow::{RunId, Store};

use crate::program::{TempDir, program};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// A tree, and a place for the journal beside it.
#[derive(Debug)]
pub struct Tree {
    directory: TempDir,
    random: u64,
}

impl Tree {
    pub fn new() -> Self {
        let directory = TempDir::new();
        fs::create_dir(directory.path().join("tree")).expect("creates a directory");
        Self { directory, random: 7 }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// A file beside the tree.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, and the directories above it.
    pub fn file(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.root().join(OsStr::from_bytes(path.as_ref()));
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("creates directories");
        fs::write(path, content).expect("writes a file");
    }

    /// Writes `count` files into `directories` directories, one below another now and then.
    pub fn forest(&mut self, directories: usize, count: usize, bytes: u64) {
        for number in 0..count {
            let (place, length) = (self.random() as usize % directories, self.random() % bytes);
            let path = format!("{}/{place}/{number}", if place.is_multiple_of(3) { "a/b" } else { "c" });
            self.file(path, vec![number as u8; length as usize]);
        }
    }

    /// xorshift64 (Marsaglia, 2003).
    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// What `sha256sum` prints.
    pub fn reference(&self) -> Vec<u8> {
        let script = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 -r sha256sum --";
        let output = Command::new("sh").args(["-c", script]).current_dir(self.root()).output().expect("sh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The command, with the journal beside the tree.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("manifest"));
        command.arg(self.root()).args(["--lease", "0.9"]).args(arguments).env("XDG_STATE_HOME", self.beside("state"));
        command
    }

    pub fn manifest(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    /// Begins a manifest whose output goes to files: nobody reads it while it runs, and a full pipe would stop it.
    pub fn begin(&mut self, arguments: &[&str]) -> Begun {
        let name = self.random();
        let files = ["out", "err"].map(|kind| self.beside(&format!("{name}.{kind}")));
        let [out, err] = files.clone().map(|path| Stdio::from(fs::File::create(path).expect("creates a file")));
        let child = self.command(arguments).stdout(out).stderr(err).spawn().expect("it starts");
        Begun { child: Some(child), files }
    }

    /// The file that the journal is in.
    pub async fn store(&self) -> workflow::sqlite::SqliteStore {
        let directory = self.beside("state").join("workflow-manifest");
        let file = eventually("a journal", async || {
            let mut files = fs::read_dir(&directory).ok()?.flatten().map(|file| file.path());
            files.find(|path| path.extension() == Some(OsStr::new("db")))
        });
        let options = workflow::sqlite::SqliteOptions::file(file.await).existing_only();
        eventually("a journal that opens", async || options.clone().open().await.ok()).await
    }
}

/// A manifest under way, killed when dropped.
#[derive(Debug)]
pub struct Begun {
    child: Option<Child>,
    files: [PathBuf; 2],
}

impl Begun {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it is there until it is killed")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("it can be asked").is_some()
    }

    pub fn end(mut self) -> Output {
        let status = self.child().wait().expect("it can be waited for");
        let [stdout, stderr] = self.files.clone().map(|path| fs::read(path).expect("it is there"));
        Output { status, stdout, stderr }
    }

    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGKILL.
            child.kill().expect("it can be killed");
            child.wait().expect("it can be waited for");
        }
    }
}

/// How many steps the last line counts: run now, and from the journal.
pub fn steps(output: &Output) -> (usize, usize) {
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().last().unwrap_or_default();
    let words: Vec<&str> = last.split(' ').collect();
    let number = |before: &str| words.windows(2).find(|pair| pair[1] == before).and_then(|pair| pair[0].parse().ok());
    match (number("run"), number("from")) {
        (Some(now), Some(before)) => (now, before),
        _ => panic!("no count of steps in: {told}"),
    }
}

/// How many outcomes of steps are in the journals of all runs of `directory`.
pub async fn journaled(store: &dyn Store) -> usize {
    let mut outcomes = 0;
    let mut before: Option<RunId> = None;
    loop {
        let filter = ListFilter { workflow: Some("directory".into()), before, limit: 1_000, ..ListFilter::default() };
        let Ok(runs) = store.list(&filter).await else { return 0 };
        for run in &runs {
            let entries = store.journal(run.id, 0, 100_000).await.unwrap_or_default();
            outcomes += entries.iter().filter(|e| e.fact.key.kind == "step" && e.fact.phase.is_outcome()).count();
        }
        match runs.last() {
            Some(last) if runs.len() == 1_000 => before = Some(last.id),
            _ => return outcomes,
        }
    }
}

/// Waits for a value.
#[expect(clippy::disallowed_methods, reason = "waits for another process, and gives up only on what never comes")]
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Fails with the first line that differs.
pub fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    let shown = |line: &[u8]| OsStr::from_bytes(line).to_owned();
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').map(shown).collect::<Vec<OsString>>();
    let (got, expected) = (lines(got), lines(expected));
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected, "{what}");
    }
    assert_eq!(got.len(), expected.len(), "{what}: the number of lines");
}

/// A path that the program's other user may read and run, too.
pub fn copied(program: &Path, to: &Path) -> PathBuf {
    fs::copy(program, to).expect("copies the program");
    to.to_owned()
}
