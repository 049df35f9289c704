//! The user a server runs as: Postgres refuses to run as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;
use crate::error::io;

/// An unprivileged user, when this process runs as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemUser {
    uid: u32,
    gid: u32,
}

impl SystemUser {
    /// `None` for an ordinary user, who needs no other; for root `postgres`, else `nobody`.
    pub(crate) fn to_run_as() -> Result<Option<Self>, Error> {
        if id(&["-u"]) != Some(0) {
            return Ok(None);
        }
        ["postgres", "nobody"].into_iter().find_map(Self::named).map(Some).ok_or(Error::NoUser)
    }

    fn named(name: &str) -> Option<Self> {
        Some(Self { uid: id(&["-u", name])?, gid: id(&["-g", name])? })
    }

    /// Gives a file or directory away.
    pub(crate) fn own(user: Option<Self>, path: &Path) -> Result<(), Error> {
        match user {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).map_err(io("chown", path)),
            None => Ok(()),
        }
    }

    /// Makes a command run as this user.
    pub(crate) fn run_as(user: Option<Self>, command: &mut Command) {
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
