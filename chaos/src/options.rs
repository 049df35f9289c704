//! What a campaign is told on its command line.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::AnyError;

pub const USAGE: &str = "usage: workflow-chaos run [--seconds N] [--seed S] [--store postgres|sqlite] [--faults F1,F2,..] \
     [--json FILE] [--keep DIRECTORY] [--bug NAME] [--until-violation]";

/// Where the runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::Sqlite => "sqlite",
        }
    }
}

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `kill -9` of an executor.
    F1,
    /// A frozen executor.
    F2,
    /// A crash of the database.
    F3,
    /// The network.
    F4,
    /// Sessions and statements that the server ends.
    F5,
    /// Errors of the store's calls.
    F6,
    /// A read-only server.
    F7,
    /// A full disk.
    F8,
    /// Clocks of executors.
    F9,
    /// Lost, doubled and late wake-ups.
    F10,
    /// Rolling deploys.
    F12,
    /// What happens to a file: locks, a second process.
    F13,
}

impl Class {
    pub const ALL: [(Class, &'static str); 12] = [
        (Class::F1, "F1"),
        (Class::F2, "F2"),
        (Class::F3, "F3"),
        (Class::F4, "F4"),
        (Class::F5, "F5"),
        (Class::F6, "F6"),
        (Class::F7, "F7"),
        (Class::F8, "F8"),
        (Class::F9, "F9"),
        (Class::F10, "F10"),
        (Class::F12, "F12"),
        (Class::F13, "F13"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(class, _)| *class == self).map_or("", |(_, name)| name)
    }

    /// Whether it makes sense on this store.
    fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Postgres => self != Class::F13,
            Kind::Sqlite => matches!(self, Class::F1 | Class::F2 | Class::F6 | Class::F10 | Class::F12 | Class::F13),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    pub seconds: u64,
    pub seed: u64,
    pub store: Kind,
    pub faults: BTreeSet<Class>,
    pub json: Option<PathBuf>,
    /// Where the ledger and the logs stay.
    pub keep: Option<PathBuf>,
    pub bug: Option<String>,
    pub until_violation: bool,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, AnyError> {
        let mut options = Self {
            seconds: 60,
            seed: u64::from(std::process::id()),
            store: Kind::Postgres,
            faults: BTreeSet::new(),
            json: None,
            keep: None,
            bug: None,
            until_violation: false,
        };
        let mut wanted = None;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--seconds" => options.seconds = value()?.parse()?,
                "--seed" => options.seed = value()?.parse()?,
                "--store" => options.store = store(&value()?)?,
                "--faults" => wanted = Some(faults(&value()?)?),
                "--json" => options.json = Some(value()?.into()),
                "--keep" => options.keep = Some(value()?.into()),
                "--bug" => options.bug = Some(value()?),
                "--until-violation" => options.until_violation = true,
                _ => return Err(format!("{argument} is unknown\n{USAGE}").into()),
            }
        }
        let all = || Class::ALL.iter().map(|(class, _)| *class).filter(|class| class.fits(options.store)).collect();
        options.faults = wanted.unwrap_or_else(all);
        if let Some(class) = options.faults.iter().find(|class| !class.fits(options.store)) {
            return Err(format!("{} means nothing on {}", class.name(), options.store.as_str()).into());
        }
        Ok(options)
    }

    pub fn has(&self, class: Class) -> bool {
        self.faults.contains(&class)
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let faults: Vec<_> = self.faults.iter().map(|class| class.name()).collect();
        let bug = self.bug.as_ref().map_or_else(String::new, |bug| format!(" --bug {bug}"));
        let until = if self.until_violation { " --until-violation" } else { "" };
        format!(
            "cargo run --release -p workflow-chaos -- run --seconds {} --seed {} --store {} --faults {}{bug}{until}",
            self.seconds,
            self.seed,
            self.store.as_str(),
            faults.join(",")
        )
    }
}

fn store(name: &str) -> Result<Kind, AnyError> {
    match name {
        "postgres" => Ok(Kind::Postgres),
        "sqlite" => Ok(Kind::Sqlite),
        _ => Err(format!("--store {name} is neither postgres nor sqlite").into()),
    }
}

fn faults(list: &str) -> Result<BTreeSet<Class>, AnyError> {
    let find = |name: &str| {
        let found = Class::ALL.iter().find(|(_, known)| *known == name).map(|(class, _)| *class);
        found.ok_or_else(|| format!("{name} is no class of faults: F1 to F10, F12, F13").into())
    };
    list.split(',').filter(|name| !name.is_empty() && *name != "none").map(find).collect()
}
