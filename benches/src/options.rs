//! The command line.

use std::path::PathBuf;

use crate::workload::{self, Case, Spec};

/// How the program is used.
pub const USAGE: &str = "\
usage: workflow-bench [WORKLOAD..] [--store sqlite|postgres|URL] [--seconds N] [--repeats N] [--scale F] [--json FILE] [--rivals] [--smoke]
       workflow-bench instructions [--write]

  WORKLOAD         W1 W2 W3 W3b W4 .. W16 replay; all when none is given
  --store          postgres (a server of its own, the default), sqlite, the URL of a server, or sqlite:DIRECTORY
  --seconds N      how long a measurement takes whose size doesn't say so (W12: 3600 for the hour)
  --repeats N      how often each is repeated (3; W12 and W13 once)
  --scale F        multiplies the sizes
  --json FILE      writes everything that was measured
  --rivals         measures the rivals of benches/rivals, too, in turns
  --smoke          small and short: does it still work?
  instructions     counts the instructions of the replay machine with valgrind, and compares them with the baseline";

/// Where the runs are kept.
#[derive(Debug)]
pub enum StoreKind {
    /// A throwaway Postgres.
    Postgres,
    /// Throwaway files.
    Sqlite,
    /// Any server or directory.
    Url(String),
}

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// Which workloads, in order.
    pub workloads: Vec<&'static Spec>,
    /// On which store.
    pub store: StoreKind,
    pub seconds: Option<f64>,
    pub repeats: Option<usize>,
    pub scale: f64,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
    pub rivals: bool,
    pub smoke: bool,
}

impl Options {
    /// Reads the command line.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            workloads: Vec::new(),
            store: StoreKind::Postgres,
            seconds: None,
            repeats: None,
            scale: 1.0,
            json: None,
            rivals: false,
            smoke: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--store" => {
                    options.store = match value()?.as_str() {
                        "postgres" => StoreKind::Postgres,
                        "sqlite" => StoreKind::Sqlite,
                        url => StoreKind::Url(url.to_owned()),
                    }
                }
                "--seconds" => options.seconds = Some(positive(&argument, &value()?)?),
                "--scale" => options.scale = positive(&argument, &value()?)?,
                "--repeats" => options.repeats = Some(positive(&argument, &value()?)?.ceil() as usize),
                "--json" => options.json = Some(value()?.into()),
                "--rivals" => options.rivals = true,
                "--smoke" => options.smoke = true,
                name => options.workloads.push(
                    workload::find(name)
                        .ok_or_else(|| format!("{name} is neither a workload nor an option\n{USAGE}"))?,
                ),
            }
        }
        if options.workloads.is_empty() {
            options.workloads = workload::ALL.to_vec();
        }
        Ok(options)
    }

    /// The parameters with which a workload is measured.
    pub fn cases(&self, spec: &Spec) -> Vec<Case> {
        let cases = if self.smoke { spec.smoke } else { spec.cases };
        cases.iter().map(|case| case.scaled(self.scale)).collect()
    }

    /// How long a measurement of a workload takes.
    pub fn seconds(&self, spec: &Spec) -> f64 {
        let default = if self.smoke { spec.seconds.min(1.0) } else { spec.seconds };
        self.seconds.unwrap_or(default)
    }

    pub fn repeats(&self, spec: &Spec) -> usize {
        self.repeats.unwrap_or(if self.smoke { 1 } else { spec.repeats })
    }
}

fn positive(argument: &str, text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{argument} takes a number above 0, not {text}\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_workloads_are_measured_unless_some_are_named() {
        assert_eq!(parse("").expect("nothing is fine").workloads.len(), workload::ALL.len());
        let some = parse("W2 w3B --seconds 2 --scale 0.5").expect("is fine");
        assert_eq!(some.workloads.iter().map(|spec| spec.id).collect::<Vec<_>>(), ["W2", "W3b"]);
        assert_eq!(some.cases(some.workloads[0]).len(), 4);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(parse("W99").expect_err("no such workload").contains("W99 is neither"));
        assert!(parse("--seconds").expect_err("no value").contains("--seconds needs a value"));
        assert!(parse("--seconds 0").expect_err("no time").contains("above 0"));
    }
}
