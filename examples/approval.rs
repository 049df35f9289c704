//! Waits for a person's decision, and doesn't wait for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Outcome {
    Approved { by: String },
    Rejected { by: String },
    NobodyAnswered,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Decision {
    by: String,
    yes: bool,
}

/// A request: what is asked for, and how long the answer may take.
#[workflow]
async fn approval(ctx: Ctx, (request, patience): (String, Duration)) -> Result<Outcome> {
    match ctx.wait_for_event::<Decision>("decision").key(request).timeout(patience).await {
        Ok(Decision { by, yes: true }) => Ok(Outcome::Approved { by }),
        Ok(Decision { by, yes: false }) => Ok(Outcome::Rejected { by }),
        Err(failure) if failure.is_timeout() => Ok(Outcome::NobodyAnswered),
        Err(failure) => Err(failure),
    }
}

#[tokio::main]
async fn main() -> Result<(), workflow::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let executor = Executor::builder(workflow::connect(&url).await?).register(approval).start().await?;
    let client = executor.client();

    let (hour, moment) = (Duration::from_secs(3600), Duration::from_millis(200));
    let ask = |request: &str, patience| client.invoke(approval, (request.to_owned(), patience));
    let (desk, yacht, silence) = (ask("desk", hour).await?, ask("yacht", hour).await?, ask("silence", moment).await?);
    client.emit_to("decision", "desk", &Decision { by: "Ada".to_owned(), yes: true }).await?;
    client.emit_to("decision", "yacht", &Decision { by: "Grace".to_owned(), yes: false }).await?;

    let outcomes = [desk.result().await?, yacht.result().await?, silence.result().await?];
    for outcome in &outcomes {
        println!("{outcome:?}");
    }
    assert_eq!(outcomes[0], Outcome::Approved { by: "Ada".to_owned() });
    assert_eq!(outcomes[1], Outcome::Rejected { by: "Grace".to_owned() });
    assert_eq!(outcomes[2], Outcome::NobodyAnswered);
    executor.shutdown().await
}
