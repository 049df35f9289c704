//! Code that breaks the rules of workflows.

use super::*;

#[test]
fn operations_inside_a_body_are_refused_at_once() {
    let mut run = Run::new(|ctx| async move {
        let value = ctx
            .step("outer", async || {
                let inner = ctx.step("inner", async || Ok(1)).await.expect_err("misuse");
                assert_eq!(inner.kind(), FailureKind::Misuse);
                Err::<u32, _>(inner)
            })
            .await;
        Err(value.expect_err("misuse"))
    });
    let message = failure(run.finish(), FailureKind::Misuse);
    assert!(message.contains("inside a step's body at workflow-core/tests/adversary/misuse.rs:"), "{message}");
    assert_eq!(run.entries(), ["step outer failed"]);
}

#[test]
fn awaiting_an_operation_inside_a_body_is_refused_at_once() {
    let mut run = Run::new(|ctx| async move {
        let sleep = RefCell::new(Some(ctx.sleep(Duration::from_secs(1))));
        ctx.step("outer", async || {
            let sleep = sleep.take().expect("once");
            sleep.await
        })
        .await?;
        Ok(json!(null))
    });
    let message = failure(run.finish(), FailureKind::Misuse);
    assert!(message.contains("(sleep, workflow-core/tests/adversary/misuse.rs:"), "{message}");
    assert!(message.contains("is awaited inside a step's body"), "{message}");
}

#[test]
fn options_after_the_first_poll_are_refused() {
    let mut run = Run::new(|ctx| async move {
        let mut step = ctx.step("a", async || Ok(1));
        assert!(futures::poll!(&mut step).is_pending());
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(step.retry(RetryPolicy::none()).await?))
    });
    assert!(failure(run.finish(), FailureKind::Misuse).contains("set its options where it is made"));
}

#[test]
fn bad_names_policies_and_durations_are_told() {
    let mut run = Run::new(|ctx| async move {
        let mut told = Vec::new();
        told.push(ctx.step("a b", async || Ok(1)).await.map(drop));
        told.push(ctx.scope("s".repeat(150)).step(&"n".repeat(60), async || Ok(1)).await.map(drop));
        told.push(ctx.step("a", async || Ok(1)).retry(RetryPolicy::none().attempts(0)).await.map(drop));
        told.push(ctx.sleep(Duration::MAX).await);
        told.push(ctx.wait_for_event::<u32>("e").key("").await.map(drop));
        told.push(ctx.emit("e", &1).key("k".repeat(201)).await);
        for failure in told.iter().map(|result| result.as_ref().expect_err("refused")) {
            assert_eq!(failure.kind(), FailureKind::Misuse, "{failure:?}");
        }
        Ok(json!(told.len()))
    });
    assert_eq!(run.finish().expect("ends well"), json!(6));
    assert!(run.journal.is_empty());
}

#[test]
fn a_bad_scope_fails_the_run_with_its_line() {
    let mut run = Run::new(|ctx| async move { Ok(json!(ctx.scope("a b").random())) });
    let message = failure(run.finish(), FailureKind::Panicked);
    assert!(message.contains("tests/adversary/misuse.rs") && message.contains("not a valid name"), "{message}");
}

#[test]
fn more_than_2000_pending_operations_are_refused_with_their_place() {
    let mut run = Run::new(|ctx| async move {
        let all: Vec<_> = (0..2_001).map(|_| ctx.sleep(Duration::from_secs(1))).collect();
        let results = join_all(all).await;
        let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1);
        Err(refused[0].clone())
    });
    let message = failure(run.finish(), FailureKind::Misuse);
    assert!(message.contains("more than 2000 operations are pending at workflow-core/tests/"), "{message}");
}

#[test]
fn more_than_10000_children_are_refused() {
    let code = |ctx: Ctx| async move {
        for i in 0..10_000 {
            ctx.invoke(Nothing, i).detached().await?;
        }
        ctx.invoke(Nothing, 0).await?;
        Ok(json!(null))
    };
    let mut run = Run::new(code);
    assert!(failure(run.finish(), FailureKind::Misuse).contains("10000 children, the limit is 10000"));
    assert_eq!(run.journal.len(), 10_000);
    run.hang_up();
    assert!(failure(run.finish(), FailureKind::Misuse).contains("10000 children"));
}

#[test]
fn operations_of_another_run_are_foreign_to_this_one() {
    thread_local! {
        static THEIRS: RefCell<Option<Ctx>> = const { RefCell::new(None) };
    }
    let mut theirs = Run::new(|ctx| async move {
        THEIRS.set(Some(ctx.clone()));
        ctx.sleep(HOUR).await?;
        Ok(json!(null))
    });
    assert!(matches!(theirs.go(), State::Blocked(_)));
    let mut run = Run::new(|_| async move {
        let theirs = THEIRS.with_borrow(Clone::clone).expect("set");
        theirs.sleep(Duration::from_secs(1)).await?;
        Ok(json!(null))
    });
    parked(run.go(), "FOREIGN_AWAIT");
    THEIRS.set(None);
}
