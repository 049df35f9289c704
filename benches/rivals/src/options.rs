//! The command line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rival::{Role, Site, Workload};
use crate::{Result, rivals};

const USAGE: &str = "usage: workflow-rivals list
       workflow-rivals run RIVAL WORKLOAD --url URL [--seconds N] [--in-flight N] [--size N] [--set NAME=VALUE]..";

/// What to do.
pub enum Command {
    /// Tell of the rivals.
    List,
    /// Measure one.
    Run,
    /// Be one of the processes of a measurement.
    Process,
}

/// What was asked for.
pub struct Options {
    /// What to do.
    pub command: Command,
    /// Whom to measure.
    pub rival: String,
    /// What to measure, where and for how long.
    pub site: Site,
}

impl Options {
    /// Reads the command line.
    pub fn parse() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let command = match args.next().as_deref() {
            Some("list") => Command::List,
            Some("run") => Command::Run,
            Some("process") => Command::Process,
            _ => return Err(USAGE.into()),
        };
        let mut site = Site {
            workload: Workload::W1,
            url: String::new(),
            role: Role::Whole,
            time: Duration::from_secs(5),
            in_flight: None,
            size: None,
            set: BTreeMap::new(),
        };
        let mut rival = String::new();
        if !matches!(command, Command::List) {
            rival = args.next().filter(|name| rivals::NAMES.contains(&name.as_str())).ok_or_else(unknown_rival)?;
            let workload = args.next().ok_or(USAGE)?;
            site.workload = Workload::named(&workload).ok_or_else(|| format!("there is no workload {workload}"))?;
        }
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--url" => site.url = value,
                "--seconds" => site.time = Duration::from_secs_f64(value.parse()?),
                "--in-flight" => site.in_flight = Some(value.parse()?),
                "--size" => site.size = Some(value.parse()?),
                "--role" => site.role = Role::named(&value).ok_or_else(|| format!("there is no role {value}"))?,
                "--set" => {
                    let (name, value) = value.split_once('=').ok_or("--set takes NAME=VALUE")?;
                    site.set.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self { command, rival, site })
    }
}

fn unknown_rival() -> String {
    format!("the rivals are {}", rivals::NAMES.join(", "))
}
