//! The commits of user transactions, between those of the machine.

use super::*;
use workflow_core::StoreError;
use workflow_core::ops::transaction::{Attempt, TransactionOp, transaction_at};

/// What the database has: the facts of committed transactions.
type Rows = Arc<Mutex<Vec<(u32, Fact)>>>;

#[track_caller]
fn transact<'a>(ctx: &Ctx, rows: &Rows, name: &str, value: u32) -> TransactionOp<'a, u32> {
    let rows = rows.clone();
    transaction_at(ctx, std::panic::Location::caller(), name, async move |attempt: &Attempt| {
        let rows = rows.clone();
        attempt
            .commit(&value, move |_, _, position, fact| async move {
                rows.lock().expect("no panic holds it").push((position, fact));
                Ok::<_, StoreError>(support::created())
            })
            .await
    })
}

/// Runs what was spawned. Returns how many there were, and puts what they wrote into the journal.
fn land(run: &mut Run, rows: &Rows) -> usize {
    let tasks = std::mem::take(&mut *run.env.spawned.lock().expect("no panic holds it"));
    let count = tasks.len();
    for task in tasks {
        futures::executor::block_on(task);
    }
    for (position, fact) in rows.lock().expect("no panic holds it").drain(..) {
        assert_eq!(position as usize, run.journal.len());
        let entry = workflow_core::journal::Entry {
            position,
            fact,
            version: workflow_core::journal::ENTRY_VERSION,
            recorded_at: support::created(),
        };
        run.journal.push(entry);
    }
    count
}

fn live(run: &mut Run, rows: &Rows) -> Result<Value, Failure> {
    loop {
        match run.go() {
            State::Finished(result) => return result,
            State::Running if land(run, rows) > 0 => {}
            State::Running => run.now = run.machine.next_due().expect("something is to come"),
            State::Blocked(Some(at)) => run.now = at,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn steps_and_transactions_side_by_side_share_one_journal() {
    let rows = Rows::default();
    let mut run = run_with(&rows, |ctx, rows| async move {
        let transactions = join_all((0..5).map(|i| transact(&ctx, &rows, "t", i)));
        let steps = join_all((0..5).map(|i| ctx.step("s", async move || Ok(i))));
        let (a, b) = futures::join!(transactions, steps);
        let a = a.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(json!([a, b.into_iter().collect::<Result<Vec<u32>, _>>()?]))
    });
    let ended = live(&mut run, &rows).expect("ends well");
    assert_eq!(ended, json!([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]));
    assert_eq!(run.journal.len(), 10);
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), ended);
}

#[test]
fn one_that_loses_while_it_commits_is_recorded_and_not_seen() {
    let rows = Rows::default();
    let mut run = run_with(&rows, |ctx, rows| async move {
        let who = tokio::select! {
            biased;
            slept = ctx.sleep(Duration::from_secs(1)) => { slept?; "slept" }
            done = transact(&ctx, &rows, "t", 1) => { done?; "done" }
        };
        ctx.step("next", async || Ok(())).await?;
        Ok(json!(who))
    });
    assert!(matches!(run.go(), State::Running));
    // The commit is under way when the time is over: both facts come, in the order of the journal.
    run.now += Duration::from_secs(5);
    assert!(matches!(run.go(), State::Running));
    assert_eq!(land(&mut run, &rows), 1);
    assert_eq!(live(&mut run, &rows).expect("ends well"), json!("done"));
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), json!("done"));
}

/// A place in the journal that is offered to an attempt whom nobody polls any more is taken back.
#[test]
fn a_kept_loser_does_not_hold_up_the_run() {
    let (rows, latch) = (Rows::default(), Latch::default());
    let mut run = run_with(&(rows.clone(), latch.clone()), |ctx, (rows, latch)| async move {
        let step = ctx.step("s", async || Ok(1));
        let waits = transaction_at(&ctx, std::panic::Location::caller(), "t", async move |attempt: &Attempt| {
            latch.wait().await;
            let rows = rows.clone();
            attempt
                .commit(&2, move |_, _, position, fact| async move {
                    rows.lock().expect("no panic holds it").push((position, fact));
                    Ok::<_, StoreError>(support::created())
                })
                .await
        });
        let Either::Left((value, kept)) = select(step, waits).await else { panic!("the latch is closed") };
        let value = value?;
        ctx.step("between", async || Ok(())).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(value + kept.await?))
    });
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the step") };
    latch.open();
    // The transaction wants to commit, but the turn with the step is under way.
    for notice in run.notices.take() {
        let workflow_core::env::Notice::Body(op) = notice else { panic!("a body") };
        run.machine.wake_body(op);
    }
    assert!(matches!(run.machine.drive(run.now), Next::Running));
    run.commit(&turn);
    assert_eq!(live(&mut run, &rows).expect("ends well"), json!(3));
    assert_eq!(run.entries(), ["step s ok", "step between ok", "sleep asked", "sleep ok", "transaction t ok"]);
}

#[test]
fn a_cancel_waits_for_the_commit_that_is_under_way() {
    let rows = Rows::default();
    let mut run = run_with(&rows, |ctx, rows| async move {
        let value = transact(&ctx, &rows, "t", 1).await?;
        ctx.sleep(HOUR).await?;
        Ok(json!(value))
    });
    assert!(matches!(run.go(), State::Running));
    run.send(cancel("enough"));
    assert!(matches!(run.go(), State::Running));
    assert!(failure(live(&mut run, &rows), FailureKind::Cancelled).contains("enough"));
    assert_eq!(run.entries()[..2], ["transaction t ok", "cancel ok"]);
}

/// And isn't found, so that it runs again, after a pause that takes for ever here.
#[test]
fn a_commit_that_panics_is_looked_up() {
    let mut run = run_with(&(), |ctx, ()| async move {
        let transaction = transaction_at(&ctx, std::panic::Location::caller(), "t", async |attempt: &Attempt| {
            attempt.commit(&1, |_, _, _, _| async { panic!("a bug of the store") }).await
        });
        Ok(json!(transaction.await?))
    });
    assert!(matches!(run.go(), State::Running));
    assert!(run.machine.is_in_transaction());
    assert_eq!(land(&mut run, &Rows::default()), 1);
    assert!(matches!(run.go(), State::Running));
    assert!(!run.machine.is_in_transaction());
    assert!(run.entries().is_empty());
}

/// The place that it was given is nobody's any more when the code has ended.
#[test]
fn code_that_ends_while_a_transaction_has_its_place_ends_the_run() {
    let latch = Latch::default();
    let mut run = run_with(&latch, |ctx, latch| async move {
        let transaction = transaction_at(&ctx, std::panic::Location::caller(), "t", async |attempt: &Attempt| {
            attempt.reserve().await;
            latch.wait().await;
            attempt.commit(&1, |_, _, _, _| async { Ok(support::created()) }).await
        });
        let mut polls = 0;
        let ends = std::future::poll_fn(|_| {
            polls += 1;
            // Its third poll is the one in which the place is taken.
            if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
        });
        tokio::select! {
            biased;
            value = transaction => Ok(json!(value?)),
            () = ends => Ok(json!("ended")),
        }
    });
    let next = run.machine.drive(run.now);
    assert!(matches!(next, Next::Running), "{next:?}");
    for notice in run.notices.take() {
        let workflow_core::env::Notice::Body(op) = notice else { panic!("a body") };
        run.machine.wake_body(op);
    }
    // Nothing else would have it driven once more.
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the code has ended") };
    assert!(matches!(turn.then, Then::Finish { .. }), "{turn:?}");
}
