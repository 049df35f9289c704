//! SHA-256 of one file.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

const CHUNK_BYTES: usize = 128 * 1024;

thread_local! {
    // Most files are smaller than a fresh buffer costs.
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK_BYTES]);
}

/// Reads the file to its end; blocks. Returns its digest in hexadecimal digits and its length. `progress` hears of each
/// chunk.
pub fn hash(path: &Path, progress: impl Fn(u64)) -> io::Result<(String, u64)> {
    let mut file = open(path)?;
    let mut sha = Sha256::new();
    let mut bytes = 0;
    CHUNK.with_borrow_mut(|chunk| {
        loop {
            let count = match file.read(chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sha.update(&chunk[..count]);
            bytes += count as u64;
            progress(count as u64);
        }
    })?;
    Ok((hex(&sha.finalize()), bytes))
}

/// What was a regular file when it was listed may be a pipe or a link by now: neither is waited for nor followed.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file any more"));
    }
    Ok(file)
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
