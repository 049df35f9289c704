//! One server's files and processes, without async: directory, `initdb`, start, signals, watchdog, removal.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::io;
use crate::system_user::SystemUser;
use crate::{Error, Options, binaries, random};

/// Longest wait for a server to come up: a recovery after a crash may take a while on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Ports that the system doesn't give to outgoing connections. From the range that it does, a client that retries while
/// the server is down could be given the server's own port, connect to itself, and keep the server from coming back.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// How the server runs in every test: what costs nothing in what is proved, and lets nothing out of its directory.
const SETTINGS: [(&str, &str); 10] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("dynamic_shared_memory_type", "mmap"),
    ("max_connections", "300"),
    // A client that stops half-way through its authentication holds up whoever drops a database.
    ("authentication_timeout", "10s"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

pub(crate) struct Postmaster {
    directory: PathBuf,
    bin: PathBuf,
    user: Option<SystemUser>,
    settings: Vec<(String, String)>,
    password: String,
    port: u16,
    child: Mutex<Option<Child>>,
    watchdog: Option<Child>,
}

impl Postmaster {
    /// Makes the directory and starts a server in it, on a free port.
    pub(crate) fn start(options: Options) -> Result<Self, Error> {
        let bin = options.bin.map_or_else(binaries::find, binaries::check)?;
        let user = SystemUser::to_run_as()?;
        let directory = make_directory(options.parent, user)?;
        let mut settings: Vec<_> = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        settings.extend(options.settings);
        let mut postmaster = Self {
            watchdog: Some(watch(&directory)?),
            directory,
            bin,
            user,
            settings,
            password: random::word(),
            port: 0,
            child: Mutex::new(None),
        };
        postmaster.bin = binaries::make_runnable(postmaster.bin.clone(), user, &postmaster.directory)?;
        postmaster.initdb()?;
        postmaster.start_on_a_free_port()?;
        Ok(postmaster)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The end of what the server wrote.
    pub(crate) fn log(&self) -> String {
        let text = self.log_since(0);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What it wrote behind so many bytes.
    fn log_since(&self, bytes: usize) -> String {
        let text = std::fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(text.get(bytes..).unwrap_or_default()).into_owned()
    }

    /// A password keeps other users of the machine out: a superuser of the database runs programs as the server's user.
    fn initdb(&self) -> Result<(), Error> {
        let password = self.directory.join("password");
        std::fs::write(&password, &self.password).map_err(io("write", &password))?;
        SystemUser::own(self.user, &password)?;
        let mut command = self.program("initdb");
        command.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        binaries::run(command.arg("--pwfile").arg(&password).arg("--pgdata").arg(self.data()))?;
        std::fs::remove_file(&password).map_err(io("remove", &password))
    }

    fn start_on_a_free_port(&mut self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            self.port = free_port();
            match self.launch() {
                Err(Error::Start { log, .. }) if log.contains("could not bind") && tries < 20 => tries += 1,
                other => return other,
            }
        }
    }

    /// Starts the server in its directory and waits until it takes connections.
    pub(crate) fn launch(&self) -> Result<(), Error> {
        let mut child = self.child();
        let path = self.directory.join("log");
        let mut tries = 0;
        loop {
            let log = OpenOptions::new().create(true).append(true).open(&path).map_err(io("open", &path))?;
            let before = log.metadata().map_err(io("look at", &path))?.len();
            let since = || self.log_since(usize::try_from(before).unwrap_or(usize::MAX));
            match wait_until_ready(self.spawn(log)?, &self.data()) {
                Ok(up) => {
                    *child = Some(up);
                    return Ok(());
                }
                // After a SIGKILL the old backends take a moment to notice.
                Err(_) if predecessor_lives(&since()) && tries < 100 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(reason) => return Err(Error::Start { reason, log: self.log() }),
            }
        }
    }

    fn spawn(&self, log: File) -> Result<Child, Error> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let errors = log.try_clone().map_err(io("open", &self.directory))?;
        // Its own process group: a Ctrl-C in the terminal is the tests' matter first.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        command.spawn().map_err(io("run", self.bin.join("postgres")))
    }

    /// One of the server's programs, as the server's user, in the server's directory, by which the watchdog knows it.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C").current_dir(&self.directory);
        SystemUser::run_as(self.user, &mut command);
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal (`INT`: fast shutdown, `QUIT`: immediate, `KILL`: a crash) and waits until the process is gone.
    pub(crate) fn end(&self, signal: &str) -> Result<(), Error> {
        let mut guard = self.child();
        let Some(child) = guard.as_mut() else { return Ok(()) };
        binaries::run(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal]).arg(child.id().to_string()))?;
        for _ in 0..STOP_LIMIT.as_millis() / LOOK_EVERY.as_millis() {
            if child.try_wait().map_err(io("wait for", &self.directory))?.is_some() {
                *guard = None;
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Error::Stop(STOP_LIMIT))
    }
}

impl Drop for Postmaster {
    /// Stops at once: nothing of it is needed any more. The watchdog removes what is left when its input ends.
    fn drop(&mut self) {
        let stopped = self.end("QUIT");
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
        }
        if stopped.is_err()
            && let Some(mut child) = self.child().take()
        {
            let _ = child.wait();
        }
    }
}

/// Whether a server said that the one before it isn't quite gone. That one's processes write into the same log, each its
/// last words.
fn predecessor_lives(log: &str) -> bool {
    let words = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
    words.iter().any(|word| log.contains(word))
}

/// A fresh directory that only the server's user can look into.
fn make_directory(parent: Option<PathBuf>, user: Option<SystemUser>) -> Result<PathBuf, Error> {
    match parent {
        Some(parent) => make_directory_in(&parent, user),
        // Root's TMPDIR may be a place that the server's user can't enter.
        None => make_directory_in(&std::env::temp_dir(), user).or_else(|_| make_directory_in(Path::new("/tmp"), user)),
    }
}

fn make_directory_in(parent: &Path, user: Option<SystemUser>) -> Result<PathBuf, Error> {
    let parent = parent.canonicalize().map_err(io("find", parent))?;
    let directory = parent.join(format!("workflow-postgres-{}", random::word()));
    std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(io("make", &directory))?;
    let mut enter = Command::new("true");
    SystemUser::run_as(user, enter.current_dir(&directory));
    let usable = SystemUser::own(user, &directory)
        .and_then(|()| enter.status().map_err(io("enter as the server's user", &directory)));
    if let Err(error) = usable {
        let _ = std::fs::remove_dir(&directory);
        return Err(error);
    }
    Ok(directory)
}

fn watch(directory: &Path) -> Result<Child, Error> {
    let mut command = Command::new("sh");
    // Through the environment, so that lists of processes stay readable.
    command.env("WATCHDOG", include_str!("watchdog.sh")).args(["-c", "eval \"$WATCHDOG\"", "watchdog"]);
    command.arg(directory).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map_err(io("run", "sh"))
}

/// A port that was free a moment ago. Postgres says so if it no longer is.
fn free_port() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    let random = || PORTS.start + u16::try_from(random::bits() % span).unwrap_or_default();
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(random).take(1_000).find(free).unwrap_or(PORTS.start)
}

/// Waits for "ready" in the server's own state file: a connection could reach another server that has taken the port.
fn wait_until_ready(mut child: Child, data: &Path) -> Result<Child, &'static str> {
    let pid = child.id().to_string();
    for _ in 0..START_LIMIT.as_millis() / LOOK_EVERY.as_millis() {
        let state = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = state.lines();
        if lines.next() == Some(&pid) && lines.nth(6).is_some_and(|status| status.trim() == "ready") {
            return Ok(child);
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return Err("it exited");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("it wasn't ready in time")
}

#[cfg(test)]
mod tests {
    use super::predecessor_lives;

    #[test]
    fn a_predecessor_is_noticed_whatever_its_processes_say_afterwards() {
        let last_words = "FATAL:  terminating connection due to unexpected postmaster exit\n".repeat(50);
        let refused = "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use\n";
        assert!(predecessor_lives(&format!("{last_words}{refused}{last_words}")));
        assert!(!predecessor_lives(&last_words));
    }
}
