//! The server: found beside the npm package that ships it, started for one measurement, with its log on the same disk.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Child;

use crate::Result;
use crate::rival::Site;

/// Names the binary.
const VARIABLE: &str = "RESTATE_SERVER";
/// Where npm leaves it below `node_modules`.
const PACKAGE: &str = "@restatedev/restate-server";
/// Becomes the server. Beside it waits who ends it and removes its directory when our end of its input is closed, which
/// it is as well when this process is killed.
const OUTLIVE_NOBODY: &str = r#"
exec 3<&0
(cat <&3 >/dev/null; kill -9 $$; sleep 1; rm -rf "$0") >/dev/null 2>&1 &
exec 3<&- </dev/null
exec "$@""#;
const UP_WITHIN: Duration = Duration::from_secs(120);

/// A server, ended when dropped, and its directory removed a moment later.
pub struct Server {
    /// Where it listens.
    pub addresses: Addresses,
    directory: PathBuf,
    child: Child,
}

/// The ports of the server, and that of the service it calls.
pub struct Addresses {
    /// Takes invocations.
    pub ingress: u16,
    /// Takes deployments.
    pub admin: u16,
    /// Where it finds the service.
    pub service: u16,
}

impl Addresses {
    /// What the processes of a measurement are given instead of a database's URL.
    pub fn to_url(&self) -> String {
        format!("restate:{}:{}:{}", self.ingress, self.admin, self.service)
    }

    /// Reads it.
    pub fn from_url(url: &str) -> Result<Self> {
        let ports: Vec<u16> = url.split(':').skip(1).map(str::parse).collect::<Result<_, _>>()?;
        let [ingress, admin, service] = ports[..] else { return Err(format!("{url} names no server").into()) };
        Ok(Self { ingress, admin, service })
    }

    /// Makes the service known.
    pub async fn register(&self) -> Result<()> {
        let deployment = json!({ "uri": format!("http://127.0.0.1:{}", self.service), "force": true });
        let uri = format!("http://127.0.0.1:{}/deployments", self.admin);
        let start = Instant::now();
        loop {
            let response = reqwest::Client::new().post(&uri).json(&deployment).send().await?;
            if response.status().is_success() {
                return Ok(());
            }
            let answer = response.text().await?;
            if start.elapsed() > UP_WITHIN {
                return Err(format!("the service isn't taken: {answer}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Server {
    /// Starts one and waits until it takes invocations.
    pub async fn start(site: &Site) -> Result<Self> {
        let binary = binary().ok_or_else(|| {
            format!("there is no Restate server: `npm install {PACKAGE}` here, or name the binary in {VARIABLE}")
        })?;
        let [fabric, ingress, admin, service] = free_ports()?;
        let directory = std::env::temp_dir().join(format!("workflow-rivals-restate-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let addresses = Addresses { ingress, admin, service };
        let config = directory.join("restate.toml");
        fs::write(&config, configuration(site, fabric, &addresses))?;
        let log = fs::File::create(directory.join("log"))?;
        let child = tokio::process::Command::new("sh")
            .args(["-c", OUTLIVE_NOBODY])
            .arg(&directory)
            .arg(binary)
            .arg("--config-file")
            .arg(&config)
            .arg("--base-dir")
            .arg(directory.join("data"))
            .arg("--no-logo")
            // It leaves directories behind when it is killed.
            .env("TMPDIR", &directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut server = Self { addresses, directory, child };
        server.up().await?;
        Ok(server)
    }

    async fn up(&mut self) -> Result<()> {
        let start = Instant::now();
        for (port, path) in [(self.addresses.admin, "health"), (self.addresses.ingress, "restate/health")] {
            let uri = format!("http://127.0.0.1:{port}/{path}");
            while !reqwest::get(&uri).await.is_ok_and(|response| response.status().is_success()) {
                if let Some(status) = self.child.try_wait()? {
                    let log = fs::read_to_string(self.directory.join("log"))?;
                    return Err(format!("the Restate server ended with {status}:\n{log}").into());
                }
                if start.elapsed() > UP_WITHIN {
                    return Err("the Restate server doesn't come up".into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

fn free_ports() -> Result<[u16; 4]> {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

fn partitions(site: &Site) -> u16 {
    site.setting("partitions", 2)
}

fn loglet(site: &Site) -> String {
    site.setting("loglet", "replicated".to_owned())
}

/// What it is tuned to.
pub fn settings(site: &Site) -> Value {
    json!({
        "partitions": partitions(site),
        "loglet": loglet(site),
        "invocations": site.setting("invocations", 10_000),
        "wal_fsync": true,
    })
}

fn configuration(site: &Site, fabric: u16, addresses: &Addresses) -> String {
    let Addresses { ingress, admin, .. } = addresses;
    let (partitions, loglet) = (partitions(site), loglet(site));
    let invocations = site.setting("invocations", 10_000);
    let batch = site.setting("batch", 32);
    format!(
        r#"
bind-ip = "127.0.0.1"
bind-port = {fabric}
advertised-host = "127.0.0.1"
listen-mode = "tcp"
node-name = "bench"
cluster-name = "bench"
disable-telemetry = true
disable-prometheus = true
log-filter = "warn"
default-num-partitions = {partitions}

[ingress]
bind-port = {ingress}

[admin]
bind-port = {admin}
disable-web-ui = true

[worker]
max-command-batch-size = {batch}

[worker.invoker]
concurrent-invocations-limit = {invocations}

[bifrost]
default-provider = "{loglet}"
"#
    )
}

/// The release of the server, when there is one.
pub fn version() -> Value {
    let output = binary().and_then(|binary| Command::new(binary).arg("--version").output().ok());
    output.map_or(Value::Null, |output| json!(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The binary that the variable names, or that npm has left here or above.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Some(path.into());
    }
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let below = format!("node_modules/{PACKAGE}-{system}-{machine}/bin/restate-server");
    let here = std::env::current_dir().ok()?;
    let places = here.ancestors().chain(Some(Path::new(env!("CARGO_MANIFEST_DIR"))));
    places.map(|place| place.join(&below)).find(|path| path.is_file())
}
