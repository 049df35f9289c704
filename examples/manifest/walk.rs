//! The workflows: a run for each directory, a step for its listing, and a step for each of its files.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, future, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use workflow::prelude::*;

use crate::hash::{hash, hex};
use crate::name::Name;

/// How many steps, and how many children, a run has pending at once. A queue behind the hashing threads keeps these
/// busy while a commit is under way.
const FILES_AT_ONCE: usize = 256;
const DIRECTORIES_AT_ONCE: usize = 512;

/// The most names in one listing, in bytes: written as JSON they take up to six times as much, and a payload may have
/// 2 MiB.
const LISTING_BYTES: usize = 256 * 1024;

/// The most parts that a listing is split into at once; they are split again where that isn't enough.
const MAX_PARTS: usize = 500;

/// What the steps of this process share.
#[derive(Clone, Debug, Default)]
pub struct Host(Arc<Counters>);

#[derive(Debug, Default)]
pub struct Counters {
    /// The most entries of a directory that one run takes on.
    pub batch: usize,
    /// Steps that ran in this process.
    pub steps: AtomicU64,
    pub listed: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
}

impl Host {
    pub fn new(batch: usize) -> Self {
        Self(Arc::new(Counters { batch, ..Counters::default() }))
    }
}

impl std::ops::Deref for Host {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

/// A directory, or the part of a wide one whose names are at least `from` and less than `to`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// The directory of the manifest.
    pub base: Name,
    /// The directory below it.
    pub path: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Name>,
}

/// The outcome of the step `list`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    Entries {
        files: Vec<Name>,
        directories: Vec<Name>,
    },
    /// Too many for one run: where the second and each later part begins.
    Parts(Vec<Name>),
    Unreadable(String),
}

/// The outcome of a step `hash`. It names its file, so that a journal can be read without the code.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hashed {
    File { name: Name, sha256: String, bytes: u64 },
    Unreadable { name: Name, error: String },
}

/// What a run found. The digests stay in the journals: a parent with all of its children's would soon be too large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub files: u64,
    pub bytes: u64,
    pub unreadable: u64,
}

impl Totals {
    fn plus(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
            unreadable: self.unreadable + other.unreadable,
        }
    }
}

/// The queue of everything below `base`: a process serves the directory it was started for, and no other.
pub fn queue(base: &Name) -> String {
    format!("manifest-{}", key(base))
}

/// A short name for a directory.
pub fn key(base: &Name) -> String {
    hex(&Sha256::digest(base.bytes())[..16])
}

/// The whole tree.
#[workflow]
pub async fn manifest(ctx: Ctx, base: Name) -> Result<Totals> {
    let queue = queue(&base);
    let part = Part { base, path: Name::default(), from: None, to: None };
    ctx.invoke(directory, part).queue(queue).await
}

/// The manifest has been written: the same command makes another one from now on.
#[workflow]
pub async fn written(_ctx: Ctx, _input: ()) -> Result<()> {
    Ok(())
}

/// One directory.
#[workflow]
pub async fn directory(ctx: Ctx, part: Part) -> Result<Totals> {
    let listing = ctx.step_with("list", async |step| {
        let (part, host) = (part.clone(), step.state::<Host>());
        Ok(tokio::task::spawn_blocking(move || list(&part, &host)).await?)
    });
    let (files, parts) = match listing.await? {
        Listing::Unreadable(_) => return Ok(Totals { unreadable: 1, ..Totals::default() }),
        Listing::Entries { files, directories } => (files, part.directories(directories)),
        Listing::Parts(starts) => (Vec::new(), part.split(starts)),
    };
    let queue = queue(&part.base);
    let hashes = stream::iter(&files)
        .map(|name| {
            ctx.step_with("hash", async |step| {
                let (path, name, host) = (part.path.join(name).below(&part.base), name.clone(), step.state::<Host>());
                Ok(tokio::task::spawn_blocking(move || hash_file(&path, name, &host)).await?)
            })
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_fold(Totals::default(), |totals, hashed| future::ok(totals.plus(hashed.totals())));
    let children = stream::iter(parts)
        .map(|part| ctx.invoke(directory, part).queue(queue.clone()))
        .buffer_unordered(DIRECTORIES_AT_ONCE)
        .try_fold(Totals::default(), |totals, child| future::ok(totals.plus(child)));
    let (hashes, children) = future::try_join(hashes, children).await?;
    Ok(hashes.plus(children))
}

impl Part {
    fn directories(&self, names: Vec<Name>) -> Vec<Part> {
        let below = |name| Part { base: self.base.clone(), path: self.path.join(&name), from: None, to: None };
        names.into_iter().map(below).collect()
    }

    fn split(&self, starts: Vec<Name>) -> Vec<Part> {
        let starts: Vec<Option<Name>> = [self.from.clone()].into_iter().chain(starts.into_iter().map(Some)).collect();
        let ends = starts[1..].iter().cloned().chain([self.to.clone()]);
        let ranges = starts.iter().cloned().zip(ends);
        ranges.map(|(from, to)| Part { from, to, ..self.clone() }).collect()
    }

    fn holds(&self, name: &Name) -> bool {
        self.from.as_ref().is_none_or(|from| from <= name) && self.to.as_ref().is_none_or(|to| name < to)
    }
}

impl Hashed {
    fn totals(&self) -> Totals {
        match self {
            Hashed::File { bytes, .. } => Totals { files: 1, bytes: *bytes, unreadable: 0 },
            Hashed::Unreadable { .. } => Totals { unreadable: 1, ..Totals::default() },
        }
    }
}

fn hash_file(path: &std::path::Path, name: Name, host: &Host) -> Hashed {
    host.steps.fetch_add(1, Ordering::Relaxed);
    let read = hash(path, |bytes| {
        host.bytes.fetch_add(bytes, Ordering::Relaxed);
    });
    host.files.fetch_add(1, Ordering::Relaxed);
    match read {
        Ok((sha256, bytes)) => Hashed::File { name, sha256, bytes },
        Err(error) => Hashed::Unreadable { name, error: reason(&error) },
    }
}

fn list(part: &Part, host: &Host) -> Listing {
    host.steps.fetch_add(1, Ordering::Relaxed);
    match read_directory(part) {
        Ok(entries) => {
            let listing = arrange(entries, host.batch);
            if let Listing::Entries { files, .. } = &listing {
                host.listed.fetch_add(files.len() as u64, Ordering::Relaxed);
            }
            listing
        }
        Err(error) => Listing::Unreadable(reason(&error)),
    }
}

/// The regular files (`true`) and directories of a part. Links aren't followed; pipes, sockets and devices are left out.
fn read_directory(part: &Part) -> io::Result<Vec<(Name, bool)>> {
    let path = part.path.below(&part.base);
    if !part.path.bytes().is_empty() && !fs::symlink_metadata(&path)?.is_dir() {
        return Err(io::Error::other("it is no directory any more"));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = Name::new(&entry.file_name());
        if (kind.is_file() || kind.is_dir()) && part.holds(&name) {
            entries.push((name, kind.is_file()));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

fn arrange(entries: Vec<(Name, bool)>, batch: usize) -> Listing {
    let bytes: usize = entries.iter().map(|(name, _)| name.bytes().len()).sum();
    let parts = entries.len().div_ceil(batch).max(bytes.div_ceil(LISTING_BYTES)).min(MAX_PARTS);
    if parts > 1 {
        let size = entries.len().div_ceil(parts);
        return Listing::Parts(entries.into_iter().step_by(size).skip(1).map(|(name, _)| name).collect());
    }
    let (files, directories): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, file)| *file);
    let names = |entries: Vec<(Name, bool)>| entries.into_iter().map(|(name, _)| name).collect();
    Listing::Entries { files: names(files), directories: names(directories) }
}

/// The system's text without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
