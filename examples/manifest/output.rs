//! What the journals of all directories say, as the lines of `sha256sum`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use workflow::{Client, Error, RunId};

use crate::name::Name;
use crate::walk::{Hashed, Listing, Part};

/// How many journals are read at once, and how many entries of one.
const JOURNALS: usize = 32;
const ENTRIES: usize = 5_000;

/// What is journaled below one run.
#[derive(Debug, Default)]
pub struct Report {
    /// Paths and digests.
    pub files: Vec<(Name, String)>,
    /// Paths and reasons.
    pub unreadable: Vec<(Name, String)>,
    pub bytes: u64,
    /// Files in all listings.
    pub listed: u64,
    /// Steps with an outcome.
    pub steps: u64,
}

impl Report {
    /// Reads all journals below `root`, whether or not it has ended.
    pub async fn read(client: &Client, root: RunId) -> Result<Self, Error> {
        let mut report = Self::default();
        let mut level = children(client, root).await?;
        while !level.is_empty() {
            let mut visits = stream::iter(level).map(|run| visit(client, run)).buffer_unordered(JOURNALS);
            let mut next = Vec::new();
            while let Some((found, children)) = visits.try_next().await? {
                report.add(found);
                next.extend(children);
            }
            drop(visits);
            level = next;
        }
        report.files.sort_unstable();
        report.unreadable.sort_unstable();
        Ok(report)
    }

    fn add(&mut self, other: Report) {
        self.files.extend(other.files);
        self.unreadable.extend(other.unreadable);
        self.bytes += other.bytes;
        self.listed += other.listed;
        self.steps += other.steps;
    }

    fn add_listing(&mut self, path: &Name, listing: Listing) {
        match listing {
            Listing::Entries { files, .. } => self.listed += files.len() as u64,
            Listing::Parts(_) => {}
            Listing::Unreadable(error) => self.unreadable.push((path.clone(), error)),
        }
    }

    fn add_file(&mut self, path: &Name, hashed: Hashed) {
        match hashed {
            Hashed::File { name, sha256, bytes } => {
                self.files.push((path.join(&name), sha256));
                self.bytes += bytes;
            }
            Hashed::Unreadable { name, error } => self.unreadable.push((path.join(&name), error)),
        }
    }

    /// Writes the lines to standard output, or to a file that is replaced when they are complete.
    pub fn write(&self, file: Option<&Path>) -> io::Result<()> {
        let Some(path) = file else { return self.lines(io::stdout().lock()) };
        let is_special = fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        if is_special {
            return self.lines(File::create(path)?);
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let written = File::create(&temporary).and_then(|file| self.lines(file));
        let replaced = written.and_then(|()| fs::rename(&temporary, path));
        if replaced.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        replaced
    }

    fn lines(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, out);
        for (path, sha256) in &self.files {
            let (path, escaped) = escape(path.bytes());
            out.write_all(if escaped { b"\\" } else { b"" })?;
            out.write_all(sha256.as_bytes())?;
            out.write_all(b"  ")?;
            out.write_all(&path)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// A path as `sha256sum` writes it, and whether that differs.
fn escape(path: &[u8]) -> (Vec<u8>, bool) {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            _ => escaped.push(byte),
        }
    }
    let differs = escaped.len() != path.len();
    (escaped, differs)
}

/// A run of `directory`: its id and its input.
type Visited = (RunId, Part);

async fn children(client: &Client, parent: RunId) -> Result<Vec<Visited>, Error> {
    let mut children = Vec::new();
    let mut page = client.list().parent(parent).limit(1_000);
    loop {
        let runs = page.await?;
        for run in &runs {
            children.push((run.id(), run.input()?));
        }
        match runs.last() {
            Some(last) if runs.len() == 1_000 => page = client.list().parent(parent).limit(1_000).before(last.id()),
            _ => return Ok(children),
        }
    }
}

async fn visit(client: &Client, (run, part): Visited) -> Result<(Report, Vec<Visited>), Error> {
    let mut report = Report::default();
    let mut has_children = false;
    let mut from = 0;
    loop {
        let entries = client.store().journal(run, from, ENTRIES).await?;
        for entry in &entries {
            let fact = &entry.fact;
            has_children |= fact.key.kind == "invoke";
            if fact.key.kind != "step" || !fact.phase.is_outcome() {
                continue;
            }
            report.steps += 1;
            match fact.key.name.as_str() {
                "list" => report.add_listing(&part.path, fact.payload.decode()?),
                _ => report.add_file(&part.path, fact.payload.decode()?),
            }
        }
        from += entries.len() as u32;
        if entries.len() < ENTRIES {
            break;
        }
    }
    let children = if has_children { children(client, run).await? } else { Vec::new() };
    Ok((report, children))
}
