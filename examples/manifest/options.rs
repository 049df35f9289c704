//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub const HELP: &str = "\
Writes the SHA-256 of every regular file under DIR, as sha256sum does, sorted by path.

Usage: manifest [OPTIONS] DIR

  -o, --out FILE       write to FILE instead of standard output
      --store URL      keep the work in this store: sqlite:PATH or postgres://..
                       (default: a file in $XDG_STATE_HOME or ~/.local/state)
  -j, --jobs N         hash N files at once (default: the number of cores)
      --batch N        split directories with more than N entries (default: 5000)
      --lease SECONDS  take over from a killed process after this time
                       (default: 2.5)
      --fresh          give an unfinished manifest of DIR up, and begin again
  -h, --help           show this help

Killed at any moment, the same command goes on where it was. Several processes
with the same command and a shared store share the work; all of them have to
see the same files under DIR.

Exit codes: 0 all files read, 2 some files unreadable, 1 other errors.";

#[derive(Debug)]
pub struct Options {
    pub directory: PathBuf,
    pub out: Option<PathBuf>,
    pub store: Option<String>,
    pub jobs: usize,
    pub batch: usize,
    pub lease: Duration,
    pub fresh: bool,
}

/// `None` when help was asked for.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>> {
    let mut arguments = arguments.into_iter();
    let mut directories = Vec::new();
    let mut options = Options {
        directory: PathBuf::new(),
        out: None,
        store: None,
        jobs: std::thread::available_parallelism().map_or(2, usize::from),
        batch: 5_000,
        lease: Duration::from_millis(2_500),
        fresh: false,
    };
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let (flag, attached) = match text.split_once('=') {
            Some((flag, _)) if flag.starts_with("--") => (flag.to_owned(), true),
            _ => (text.clone().into_owned(), false),
        };
        let mut value = || {
            if attached {
                return Ok(after_equals(&argument));
            }
            arguments.next().with_context(|| format!("{flag} needs a value: see --help"))
        };
        match flag.as_str() {
            "-h" | "--help" => return Ok(None),
            "-o" | "--out" => options.out = Some(value()?.into()),
            "--store" => options.store = Some(value()?.to_string_lossy().into_owned()),
            "-j" | "--jobs" => options.jobs = number(&flag, &value()?)?,
            "--batch" => options.batch = number(&flag, &value()?)?,
            "--lease" => options.lease = seconds(&flag, &value()?)?,
            "--fresh" => options.fresh = true,
            "--" => directories.extend(arguments.by_ref()),
            _ if flag.len() > 1 && flag.starts_with('-') => bail!("unknown option {flag}: see --help"),
            _ => directories.push(argument.clone()),
        }
    }
    match <[OsString; 1]>::try_from(directories) {
        Ok([directory]) => Ok(Some(Options { directory: directory.into(), ..options })),
        Err(given) => bail!("one directory is needed, {} were given: see --help", given.len()),
    }
}

fn after_equals(argument: &OsString) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    OsString::from_vec(argument.as_bytes().iter().copied().skip_while(|byte| *byte != b'=').skip(1).collect())
}

/// From 1 to 10,000: a run's journal holds 50,000 entries.
fn number(flag: &str, value: &OsString) -> Result<usize> {
    let text = value.to_string_lossy();
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.with_context(|| format!("{flag} {text:?} is no number from 1 to 10000"))
}

fn seconds(flag: &str, value: &OsString) -> Result<Duration> {
    let text = value.to_string_lossy();
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3_600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).with_context(|| format!("{flag} {text:?} is no number from 0.1 to 3600"))
}
