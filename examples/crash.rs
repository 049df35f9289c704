//! Dies in the middle of a run, is started again, and goes on where it was.

use std::process::{Command, ExitCode};
use std::time::Duration;

use workflow::prelude::*;

/// Which life of the program this is.
struct Life(u32);

#[workflow]
async fn journey(ctx: Ctx) -> Result<String> {
    let life = ctx.state::<Life>().0;
    let there = ctx.step("go", async || {
        println!("life {life}: goes there");
        Ok("there".to_owned())
    });
    let there = there.await?;
    let back = ctx.step("return", async || {
        if life == 1 {
            println!("life {life}: dies on the way back");
            std::process::abort();
        }
        println!("life {life}: comes back");
        Ok("back".to_owned())
    });
    Ok(format!("{there} and {}", back.await?))
}

#[tokio::main]
async fn live(url: &str, id: &str, life: u32) -> Result<(), workflow::Error> {
    // Whoever takes over waits for the lease of the dead one: default 5 s.
    let (lease, heartbeat) = (Duration::from_millis(1_500), Duration::from_millis(300));
    let executor = Executor::builder(workflow::connect(url).await?)
        .register(journey)
        .state(Life(life))
        .lease(lease, heartbeat)
        .start()
        .await?;
    // The first life begins the run, the second finds it by its id.
    let run = executor.client().invoke(journey, ()).id(id).await?;
    println!("life {life}: {}", run.result().await?);
    executor.shutdown().await
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [url, id, life] = &arguments[..] {
        let result = life.parse().map_err(|error| format!("{error}"));
        let result = result.and_then(|life| live(url, id, life).map_err(|error| error.to_string()));
        return result.map_or_else(|error| panic!("{error}"), |()| ExitCode::SUCCESS);
    }
    let file = std::env::temp_dir().join(format!("workflow-crash-{}.db", std::process::id()));
    let url = arguments.first().cloned().unwrap_or_else(|| format!("sqlite:{}", file.display()));
    let id = format!("journey of {}", std::process::id());
    let program = std::env::current_exe().expect("the program has a path");
    let mut survived = Vec::new();
    for life in 1..=2 {
        let status = Command::new(&program).args([&url, &id, &life.to_string()]).status().expect("it starts");
        println!("life {life} ended {}", if status.success() { "well" } else { "in a crash" });
        survived.push(status.success());
    }
    for suffix in ["", "-wal", "-shm"] {
        // Not there with a store of the caller's.
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    assert_eq!(survived, [false, true]);
    ExitCode::SUCCESS
}
