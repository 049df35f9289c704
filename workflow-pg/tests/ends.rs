//! What goes with a run that ends.

mod support;

use support::{Harness, adds, fact, new_run};
use workflow_core::journal::OpKey;
use workflow_core::store::{NewMessage, Status, Store, Subscription, Then, Turn, TurnOutcome};
use workflow_core::{ExecutorId, Payload, RunId};

fn ends(run: RunId, position: u32) -> Turn {
    let output = Payload::json(&()).expect("encodes");
    Turn { then: Then::Finish { status: Status::Completed, output }, ..Turn::new(run, position) }
}

async fn owned(harness: &Harness, executor: ExecutorId) -> RunId {
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), true).await.expect("creates");
    run.id
}

async fn left(harness: &Harness) -> [i64; 2] {
    let count = "SELECT ARRAY[(SELECT count(*) FROM workflow.inbox), (SELECT count(*) FROM workflow.subscriptions)]";
    let counts: Vec<i64> = sqlx::query_scalar(count).fetch_one(harness.store.pool()).await.expect("counts");
    counts.try_into().expect("two")
}

#[tokio::test]
async fn mail_and_waits_go_with_a_run_that_ends_alone_or_with_others() {
    let harness = Harness::migrated().await;
    let store = &harness.store;
    let executor = harness.executor().await;
    for others in [0, 1, 2] {
        let (run, sender) = (owned(&harness, executor).await, owned(&harness, executor).await);
        let wait = Subscription { op: OpKey::new("event", "late", 1), name: "late".into(), key: "k".into(), after: 0 };
        let waits = Turn { subscribe: vec![wait], ..adds(run, 0) };
        let sends = Turn { sends: vec![NewMessage { to: run, fact: fact("hello") }], ..adds(sender, 0) };
        store.commit(executor, &[waits, sends]).await.expect("commits");
        assert_eq!(left(&harness).await, [1, 1]);
        let mut turns = vec![ends(run, 1)];
        for _ in 0..others {
            let other = owned(&harness, executor).await;
            turns.push(Turn { entries: adds(other, 0).entries, ..ends(other, 0) });
        }
        let committed = store.commit(executor, &turns).await.expect("commits");
        assert_eq!(committed.turns, vec![TurnOutcome::Done; turns.len()]);
        assert_eq!(left(&harness).await, [0, 0]);
    }
}
