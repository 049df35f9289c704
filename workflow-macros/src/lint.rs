//! What a workflow's body may not do outside of its steps: the lints, and the paths that each of them refuses.

/// A lint, by the name that `allow(..)` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lint {
    Time,
    Sleep,
    Random,
    Uuid,
    Spawn,
    Thread,
    Env,
    Fs,
    Net,
    Process,
    Pending,
}

impl Lint {
    const ALL: [(Lint, &'static str); 11] = [
        (Lint::Time, "time"),
        (Lint::Sleep, "sleep"),
        (Lint::Random, "random"),
        (Lint::Uuid, "uuid"),
        (Lint::Spawn, "spawn"),
        (Lint::Thread, "thread"),
        (Lint::Env, "env"),
        (Lint::Fs, "fs"),
        (Lint::Net, "net"),
        (Lint::Process, "process"),
        (Lint::Pending, "pending"),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(lint, _)| *lint)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(lint, _)| *lint == self).map_or("", |(_, name)| name)
    }

    /// All names, for messages.
    pub fn known() -> String {
        Self::ALL.map(|(_, name)| name).join(", ")
    }
}

/// Paths that are refused, why, and what to write instead.
#[derive(Debug)]
pub struct Rule {
    pub lint: Lint,
    /// The last segments of the path. `*` stands for any function: a last segment in lower case.
    paths: &'static [&'static str],
    because: &'static str,
    /// `{ctx}` stands for the name of the context.
    instead: &'static str,
}

impl Rule {
    /// The error's text.
    pub fn message(&self, path: &[String], ctx: &str) -> String {
        let shown = path[path.len().saturating_sub(2)..].join("::");
        let (because, instead, lint) = (self.because, self.instead.replace("{ctx}", ctx), self.lint.name());
        format!(
            "`{shown}` {because}: {instead} \
             (or #[workflow(allow({lint}))] if it can't influence what the workflow does)"
        )
    }

    fn matches(&self, path: &[String]) -> bool {
        self.paths.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split("::").collect();
            let Some(start) = path.len().checked_sub(pattern.len()) else { return false };
            path[start..].iter().zip(pattern).all(|(segment, wanted)| match wanted {
                "*" => segment.starts_with(char::is_lowercase),
                wanted => segment == wanted,
            })
        })
    }
}

/// The first rule that refuses `path`, if any. What lives in the user's own crate is the user's.
pub fn refuses(path: &[String]) -> Option<&'static Rule> {
    match path.first()?.as_str() {
        "crate" | "self" | "super" | "Self" => None,
        _ => RULES.iter().find(|rule| rule.matches(path)),
    }
}

/// The same for a function without arguments that is called by its bare name: `thread_rng()`.
pub fn refuses_bare(function: &str) -> Option<&'static Rule> {
    match function {
        "random" | "thread_rng" => RULES.iter().find(|rule| rule.lint == Lint::Random),
        _ => None,
    }
}

const ANOTHER_VALUE: &str = "gives another value on replay";
const NOT_JOURNALED: &str = "isn't journaled, so a replay does it again";
const STEP: &str = "wrap it in `{ctx}.step(..)`";

static RULES: [Rule; 15] = [
    Rule {
        lint: Lint::Time,
        paths: &[
            "SystemTime::now",
            "Instant::now",
            "Utc::now",
            "Utc::today",
            "Local::now",
            "Local::today",
            "OffsetDateTime::now_utc",
            "OffsetDateTime::now_local",
            "Timestamp::now",
            "Zoned::now",
        ],
        because: ANOTHER_VALUE,
        instead: "use `{ctx}.now()`",
    },
    Rule {
        lint: Lint::Sleep,
        paths: &["time::timeout", "time::timeout_at"],
        because: "is no durable timer",
        instead: "put `.timeout(..)` on the operation that is awaited",
    },
    Rule {
        lint: Lint::Sleep,
        paths: &["time::interval", "time::interval_at"],
        because: "is no durable timer",
        instead: "loop over `{ctx}.sleep(..)`",
    },
    Rule {
        lint: Lint::Sleep,
        paths: &["time::sleep", "time::sleep_until", "task::sleep", "Delay::new", "Timer::after"],
        because: "is no durable timer",
        instead: "use `{ctx}.sleep(..)`",
    },
    Rule {
        lint: Lint::Random,
        paths: &[
            "rand::*",
            "fastrand::*",
            "getrandom::*",
            "OsRng",
            "ThreadRng::default",
            "StdRng::from_entropy",
            "StdRng::from_os_rng",
            "SmallRng::from_entropy",
            "SmallRng::from_os_rng",
        ],
        because: ANOTHER_VALUE,
        instead: "use `{ctx}.random()`",
    },
    Rule {
        lint: Lint::Uuid,
        paths: &[
            "Uuid::new_v4",
            "Uuid::new_v7",
            "Uuid::now_v1",
            "Uuid::now_v6",
            "Uuid::now_v7",
            "Ulid::new",
            "Ulid::generate",
        ],
        because: ANOTHER_VALUE,
        instead: "use `{ctx}.uuid()`",
    },
    Rule {
        lint: Lint::Spawn,
        paths: &["task::spawn_blocking", "task::block_in_place"],
        because: NOT_JOURNALED,
        instead: STEP,
    },
    Rule {
        lint: Lint::Spawn,
        paths: &[
            "tokio::spawn",
            "task::spawn",
            "task::spawn_local",
            "smol::spawn",
            "rayon::spawn",
            "JoinSet::new",
            "Handle::current",
            "Handle::try_current",
        ],
        because: "runs code that a replay can't follow",
        instead: "use `join!` for concurrent branches, or `{ctx}.invoke(..)` for a child",
    },
    Rule {
        lint: Lint::Thread,
        paths: &["thread::sleep", "thread::sleep_ms", "thread::park_timeout"],
        because: "blocks the executor and is no durable timer",
        instead: "use `{ctx}.sleep(..)`",
    },
    Rule { lint: Lint::Thread, paths: &["thread::*"], because: "runs code that a replay can't follow", instead: STEP },
    Rule {
        lint: Lint::Env,
        paths: &["env::*"],
        because: "may give another value on replay",
        instead: "wrap it in `{ctx}.step(..)`, or make it part of the input",
    },
    Rule {
        lint: Lint::Fs,
        paths: &[
            "fs::*",
            "File::open",
            "File::create",
            "File::create_new",
            "File::options",
            "OpenOptions::new",
            "DirBuilder::new",
        ],
        because: NOT_JOURNALED,
        instead: STEP,
    },
    Rule {
        lint: Lint::Net,
        paths: &[
            "TcpStream::*",
            "TcpListener::*",
            "TcpSocket::*",
            "UdpSocket::*",
            "UnixStream::*",
            "UnixListener::*",
            "UnixDatagram::*",
            "net::lookup_host",
            "reqwest::get",
            "blocking::get",
        ],
        because: NOT_JOURNALED,
        instead: STEP,
    },
    Rule {
        lint: Lint::Process,
        paths: &["process::*", "process::Command::new", "io::stdin", "signal::ctrl_c"],
        because: NOT_JOURNALED,
        instead: STEP,
    },
    Rule {
        lint: Lint::Pending,
        paths: &["future::pending"],
        because: "is never over, and no event, timer or cancellation ends it",
        instead: "wait for what is to end it, with `{ctx}.wait_for_event(..)` or `{ctx}.sleep(..)`",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lint(path: &str) -> Option<&'static str> {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        refuses(&path).map(|rule| rule.lint.name())
    }

    #[test]
    fn every_lint_refuses_what_its_name_says() {
        for (path, name) in [
            ("std::time::Instant::now", "time"),
            ("tokio::time::Instant::now", "time"),
            ("chrono::Local::now", "time"),
            ("tokio::time::sleep", "sleep"),
            ("rand::rng", "random"),
            ("uuid::Uuid::now_v7", "uuid"),
            ("tokio::task::spawn_blocking", "spawn"),
            ("std::thread::sleep", "thread"),
            ("std::env::var", "env"),
            ("tokio::fs::read", "fs"),
            ("std::fs::File::open", "fs"),
            ("tokio::net::TcpStream::connect", "net"),
            ("std::process::Command::new", "process"),
            ("std::future::pending", "pending"),
            ("futures::future::pending", "pending"),
        ] {
            assert_eq!(lint(path), Some(name), "{path}");
        }
        assert!(Lint::ALL.iter().all(|(lint, _)| RULES.iter().any(|rule| rule.lint == *lint)));
    }

    #[test]
    fn what_is_the_same_on_replay_is_not_refused() {
        for path in [
            "std::time::Duration::from_secs",
            "tokio::time::Duration::from_secs",
            "std::net::Ipv4Addr::new",
            "uuid::Uuid::new_v5",
            "rand::rngs::StdRng::seed_from_u64",
            "clap::Command::new",
            "crate::env::load",
            "std::process::ExitCode::SUCCESS",
            "now",
        ] {
            assert_eq!(lint(path), None, "{path}");
        }
    }
}
