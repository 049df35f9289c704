//! The file of the ledger: appending to it, reading it, and following it while it grows.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::clock;
use crate::record::{Line, Record, Time};

/// Why a ledger can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system's matter.
    #[error("the ledger {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A line that was never written by a ledger.
    #[error("line {line} of the ledger {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// A ledger that is open for appending.
pub struct Ledger {
    file: File,
    path: PathBuf,
    next: u64,
    clock: clock::Steady,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({}, {} records)", self.path.display(), self.next - 1)
    }
}

impl Ledger {
    /// Opens the file, or makes it. The end of a line that was cut off when an earlier ledger died was never
    /// acknowledged, and goes.
    ///
    /// # Errors
    ///
    /// [`LedgerError`], when a line before the last isn't a record either.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let path = path.into();
        let io = |error| LedgerError::Io { path: path.clone(), error };
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io)?;
        let mut tail = Tail::new(&path);
        let lines = tail.more()?;
        file.set_len(tail.offset).map_err(io)?;
        file.sync_all().map_err(io)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            // So that the file itself is found again.
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        }
        let (next, mono_us) = lines.last().map_or((1, 0), |line| (line.seq + 1, line.mono_us));
        Ok(Self { file, path, next, clock: clock::Steady::after(mono_us), buffer: Vec::new() })
    }

    /// Appends records, each with its sender and the sender's time, and returns when all are durable: the `seq` of the
    /// first.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`]: then nobody knows what of them is in the file, and it must be opened anew.
    pub fn append(&mut self, records: Vec<(String, Time, Record)>) -> Result<u64, LedgerError> {
        let first = self.next;
        self.buffer.clear();
        for (from, sent_at, record) in records {
            let (mono_us, at) = (self.clock.now_us(), clock::wall());
            let line = Line { seq: self.next, mono_us, at, from, sent_at, record };
            serde_json::to_writer(&mut self.buffer, &line).map_err(|error| self.io(error.into()))?;
            self.buffer.push(b'\n');
            self.next += 1;
        }
        self.file.write_all(&self.buffer).map_err(|error| self.io(error))?;
        self.file.sync_data().map_err(|error| self.io(error))?;
        Ok(first)
    }

    fn io(&self, error: io::Error) -> LedgerError {
        LedgerError::Io { path: self.path.clone(), error }
    }
}

/// Reads a ledger while it grows.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Where the next line begins.
    offset: u64,
    lines: u64,
}

impl Tail {
    /// From the beginning.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), offset: 0, lines: 0 }
    }

    /// The records that were added since the last call. A line that isn't finished is left for the next one.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn more(&mut self) -> Result<Vec<Line>, LedgerError> {
        let io = |error| LedgerError::Io { path: self.path.clone(), error };
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(self.offset)).map_err(io)?;
        let mut reader = BufReader::with_capacity(1 << 20, file).take(u64::MAX);
        let (mut lines, mut bytes) = (Vec::new(), Vec::new());
        loop {
            bytes.clear();
            let read = reader.read_until(b'\n', &mut bytes).map_err(io)?;
            if bytes.last() != Some(&b'\n') {
                return Ok(lines);
            }
            let number = self.lines + 1;
            let damaged = |reason| LedgerError::Damaged { path: self.path.clone(), line: number, reason };
            let line: Line = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
            if line.seq != number {
                return Err(damaged(format!("its seq is {}", line.seq)));
            }
            lines.push(line);
            self.lines = number;
            self.offset += read as u64;
        }
    }
}

/// Reads a whole ledger, also while it is written.
///
/// # Errors
///
/// [`LedgerError`].
pub fn read(path: &Path) -> Result<Vec<Line>, LedgerError> {
    Tail::new(path).more()
}
