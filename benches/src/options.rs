//! The command line.

/// Where the runs are kept.
pub enum StoreKind {
    /// A throwaway Postgres.
    Postgres,
    /// A throwaway file.
    Sqlite,
    /// Any store.
    Url(String),
}

/// What was asked for.
pub struct Options {
    /// Which workloads, in order.
    pub workloads: Vec<String>,
    /// On which store.
    pub store: StoreKind,
    /// How long each measurement takes.
    pub seconds: u64,
    /// Where the figures go as JSON.
    pub json: Option<String>,
}

/// The workloads there are.
pub const WORKLOADS: [&str; 4] = ["throughput", "latency", "resident", "zero"];

impl Options {
    /// Reads the command line.
    pub fn parse() -> Result<Self, String> {
        let mut options = Self { workloads: Vec::new(), store: StoreKind::Postgres, seconds: 5, json: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--store" => {
                    options.store = match value()?.as_str() {
                        "postgres" => StoreKind::Postgres,
                        "sqlite" => StoreKind::Sqlite,
                        url => StoreKind::Url(url.to_owned()),
                    }
                }
                "--seconds" => {
                    let text = value()?;
                    options.seconds = text.parse().map_err(|_| format!("--seconds {text} is no number"))?;
                }
                "--json" => options.json = Some(value()?),
                name if WORKLOADS.contains(&name) => options.workloads.push(name.to_owned()),
                other => return Err(format!("unknown workload {other}: there are {}", WORKLOADS.join(", "))),
            }
        }
        if options.workloads.is_empty() {
            options.workloads = WORKLOADS.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}
