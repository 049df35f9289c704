//! Operations that are dropped, kept, or polled by turns.

use super::*;

#[test]
fn operations_dropped_before_they_are_awaited_leave_no_trace() {
    let mut run = Run::new(|ctx| async move {
        drop(ctx.step("a", async || Ok(1)));
        drop(ctx.sleep(HOUR));
        drop(ctx.wait_for_event::<u32>("e"));
        let mut polled = ctx.step("a", async || Ok(2));
        assert!(futures::poll!(&mut polled).is_pending());
        drop(polled);
        Ok(json!(ctx.step("a", async || Ok(3)).await?))
    });
    assert_eq!(run.finish().expect("ends well"), json!(3));
    assert_eq!(run.entries(), ["step a ok"]);
    assert!(run.turns.iter().all(|turn| turn.subscribe.is_empty() && turn.unsubscribe.is_empty()));
}

#[test]
fn emits_and_children_dropped_at_once_still_happen() {
    let mut run = Run::new(|ctx| async move {
        drop(ctx.emit("told", &1));
        drop(ctx.invoke(Nothing, 1));
        drop(ctx.invoke(Nothing, 2).detached());
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(null))
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    assert_eq!((run.turns[0].emits.len(), run.turns[0].starts.len()), (1, 2));
    run.hang_up();
    run.finish().expect("ends well");
    assert_eq!(run.turns.iter().map(|t| t.emits.len() + t.starts.len()).sum::<usize>(), 3);
}

#[test]
fn a_body_that_loses_is_dropped_and_never_journaled() {
    let latch = Latch::default();
    let mut run = run_with(&latch, |ctx, latch| async move {
        tokio::select! {
            _ = ctx.step("slow", async || { latch.wait().await; Ok(()) }) => panic!("it waits for ever"),
            slept = ctx.sleep(Duration::from_secs(1)) => slept?,
        }
        Ok(json!(ctx.step("next", async || Ok(2)).await?))
    });
    assert!(matches!(run.go(), State::Running));
    assert_eq!(run.machine.next_due(), Some(run.journal[0].recorded_at + Duration::from_secs(1)));
    run.now += Duration::from_secs(2);
    assert!(matches!(run.go(), State::Finished(Ok(_))));
    assert_eq!(run.entries(), ["sleep asked", "sleep ok", "step next ok"]);
    latch.open();
    run.hang_up();
    assert!(matches!(run.go(), State::Finished(Ok(_))));
}

#[test]
fn a_step_is_dropped_with_its_outcome_in_the_turn() {
    let mut run = Run::new(|ctx| async move {
        let (mut a, mut b) = (ctx.step("a", async || Ok(1)), ctx.step("b", async || Ok(2)));
        let first = tokio::select! { biased; v = &mut a => v?, v = &mut b => v? };
        drop((a, b));
        Ok(json!([first, ctx.step("c", async || Ok(3)).await?]))
    });
    assert_eq!(run.finish().expect("ends well"), json!([1, 3]));
    assert_eq!(run.entries(), ["step a ok", "step b ok", "step c ok"]);
    for length in 0..3 {
        let journal = run.journal[..length].to_vec();
        let mut again = Run::with(run.workflow.clone(), journal, false);
        assert_eq!(again.finish().expect("ends well"), json!([1, 3]));
    }
}

#[test]
fn a_step_moved_into_futures_unordered_and_dropped_in_its_body_is_gone() {
    let (latch, dropped) = (Latch::default(), Count::default());
    let mut run = run_with(&(latch.clone(), dropped.clone()), |ctx, (latch, dropped)| async move {
        let (first, second) = (latch.clone(), latch);
        let mut slow = ctx.step("slow", async move || {
            let _dropped = OnDrop(|| dropped.up());
            first.wait().await;
            Ok(1)
        });
        assert!(futures::poll!(&mut slow).is_pending());
        ctx.sleep(Duration::from_secs(1)).await?;
        let mut all = FuturesUnordered::new();
        all.push(slow);
        all.push(ctx.step("other", async move || {
            second.wait().await;
            Ok(2)
        }));
        let deadline = ctx.sleep(Duration::from_secs(1));
        match select(pin!(all.next()), deadline).await {
            Either::Left(_) => panic!("nobody opens it"),
            Either::Right((slept, _)) => slept?,
        }
        drop(all);
        Ok(json!("over"))
    });
    // A body that nobody polls doesn't begin.
    assert!(matches!(run.go(), State::Blocked(_)));
    run.now += Duration::from_secs(2);
    assert!(matches!(run.go(), State::Running));
    run.now += Duration::from_secs(2);
    assert!(matches!(run.go(), State::Finished(Ok(_))));
    assert_eq!(dropped.get(), 1);
    latch.open();
    assert_eq!(run.entries(), ["sleep asked", "sleep ok", "sleep #2 asked", "sleep #2 ok"]);
}

#[test]
fn handles_may_be_stored_and_awaited_much_later() {
    let mut run = Run::new(|ctx| async move {
        let handles: Vec<_> = (0..20).map(|i| ctx.sleep(Duration::from_secs(i))).collect();
        let step = ctx.step("early", async || Ok(1));
        let child = ctx.invoke(Nothing, 1);
        for i in 0..5 {
            ctx.sleep(HOUR).await?;
            ctx.step("between", async || Ok(i)).await?;
        }
        for handle in handles {
            handle.await?;
        }
        drop(child);
        Ok(json!(step.await?))
    });
    loop {
        match run.go() {
            State::Blocked(Some(at)) => {
                run.now = at;
                run.hang_up();
            }
            State::Finished(result) => break assert_eq!(result.expect("ends well"), json!(1)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_kept_loser_goes_on_where_it_stood() {
    let latch = Latch::default();
    let mut run = run_with(&latch, |ctx, latch| async move {
        let slow = ctx.step("slow", async || {
            latch.wait().await;
            Ok(1)
        });
        let Either::Right((slept, slow)) = select(slow, ctx.sleep(Duration::from_secs(1))).await else {
            panic!("it waits")
        };
        slept?;
        // Nobody polls the body now, and the clock still ends this.
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(slow.await?))
    });
    assert!(matches!(run.go(), State::Running));
    run.now = run.machine.next_due().expect("the first sleep");
    assert!(matches!(run.go(), State::Running));
    latch.open();
    run.now = run.machine.next_due().expect("the second sleep");
    assert!(matches!(run.go(), State::Finished(Ok(_))));
}

#[test]
fn polling_after_the_end_is_misuse() {
    let mut run = Run::new(|ctx| async move {
        let mut step = ctx.step("a", async || Ok(1));
        (&mut step).await?;
        let mut sleep = ctx.sleep(Duration::ZERO);
        (&mut sleep).await?;
        let (a, b) = (step.await.expect_err("over"), sleep.await.expect_err("over"));
        assert_eq!((a.kind(), b.kind()), (FailureKind::Misuse, FailureKind::Misuse));
        Err(a)
    });
    assert_eq!(failure(run.finish(), FailureKind::Misuse), "an operation (step a) was polled after its end");
}
