//! What code that is cancelled may still do.

use super::*;

#[test]
fn a_running_body_is_dropped_and_none_begins_any_more() {
    let (latch, count) = (Latch::default(), Count::default());
    let mut run = run_with(&(latch.clone(), count.clone()), |ctx, (latch, count)| async move {
        let begun = count.clone();
        let (a, b) = futures::join!(
            ctx.step("runs", async || {
                let _dropped = OnDrop(|| count.up());
                latch.wait().await;
                Ok(())
            }),
            async {
                ctx.sleep(Duration::from_secs(1)).await?;
                ctx.step("later", async || {
                    begun.up();
                    Ok(())
                })
                .await
            }
        );
        assert!(b.expect_err("cancelled").is_cancelled());
        a?;
        Ok(json!(null))
    });
    assert!(matches!(run.go(), State::Running));
    run.send(cancel("enough"));
    // The sleep is over with the same turn, and its step must not begin.
    run.now += Duration::from_secs(2);
    failure(run.finish(), FailureKind::Cancelled);
    assert_eq!(count.get(), 1, "the body was dropped, and no other one began");
    latch.open();
    assert!(run.entries().iter().all(|entry| !entry.starts_with("step")), "{:?}", run.entries());
}

#[test]
fn a_cancel_between_retries_ends_them() {
    let ran = Count::default();
    let mut run = run_with(&ran, |ctx, ran| async move {
        let step = ctx.step("a", async || {
            ran.up();
            Err::<u32, _>(Failure::new("no"))
        });
        Ok(json!(step.retry(RetryPolicy::fixed(Duration::from_secs(10)).forever()).await?))
    });
    let State::Blocked(Some(due)) = run.go() else { panic!("backs off") };
    run.hang_up();
    run.send(cancel("enough"));
    run.now = due;
    failure(run.finish(), FailureKind::Cancelled);
    assert_eq!(ran.get(), 1);
    assert_eq!(run.entries(), ["step a retry", "cancel ok"]);
}

#[test]
fn a_cancel_while_a_turn_is_under_way_comes_with_the_next() {
    let mut run = Run::new(|ctx| async move {
        let value = ctx.step("a", async || Ok(1)).await?;
        ctx.sleep(HOUR).await?;
        Ok(json!(value))
    });
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the step") };
    run.send(cancel("enough"));
    run.send(cancel("twice"));
    assert!(matches!(run.machine.drive(run.now), Next::Running));
    run.commit(&turn);
    let message = failure(run.finish(), FailureKind::Cancelled);
    assert_eq!(message, "enough");
    assert_eq!(run.entries(), ["step a ok", "cancel ok", "sleep asked"]);
}

#[test]
fn a_kept_step_that_was_let_in_before_does_not_begin_after() {
    // A combinator that stops polling the step just when its body might begin.
    struct Once<F>(F, bool);
    impl<F: Future + Unpin> Future for Once<F> {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if !self.1 {
                self.1 = true;
                let _ = Pin::new(&mut self.0).poll(cx);
            }
            Poll::Pending
        }
    }
    let ran = Count::default();
    let mut run = run_with(&ran, |ctx, ran| async move {
        let mut step = ctx.step("kept", async || {
            ran.up();
            Ok(())
        });
        let slept = {
            let once = Once(&mut step, false);
            let Either::Left((slept, _)) = select(ctx.sleep(HOUR), once).await else { panic!("never ready") };
            slept
        };
        assert!(slept.expect_err("cancelled").is_cancelled());
        assert!(step.await.expect_err("cancelled").is_cancelled());
        Ok(json!(null))
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    run.send(cancel("enough"));
    run.finish().expect("ends well");
    assert_eq!(ran.get(), 0);
}

#[test]
fn the_branches_of_a_select_see_it_in_the_same_order_on_replay() {
    thread_local! {
        static SEEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    let code = |ctx: Ctx| async move {
        for _ in 0..4 {
            tokio::select! {
                r = async { ctx.wait_for_event::<u32>("a").await } => { r.expect_err("cancelled"); SEEN.with_borrow_mut(|s| s.push("a")); }
                r = async { ctx.wait_for_event::<u32>("b").await } => { r.expect_err("cancelled"); SEEN.with_borrow_mut(|s| s.push("b")); }
                r = async { ctx.wait_for_event::<u32>("c").await } => { r.expect_err("cancelled"); SEEN.with_borrow_mut(|s| s.push("c")); }
            }
        }
        Ok(json!(null))
    };
    let mut run = Run::new(code);
    assert!(matches!(run.go(), State::Blocked(_)));
    run.send(cancel("enough"));
    run.finish().expect("ends well");
    let live = SEEN.take();
    for _ in 0..20 {
        run.hang_up();
        run.finish().expect("ends well");
        assert_eq!(SEEN.take(), live);
    }
}

#[test]
fn the_time_and_the_children_after_it_are_the_same_on_replay() {
    let code = |ctx: Ctx| async move {
        assert!(ctx.sleep(HOUR).await.expect_err("cancelled").is_cancelled());
        let child = ctx.shield().invoke(Nothing, 1);
        Ok(json!([ctx.now().timestamp_micros(), ctx.random(), child.id().await?]))
    };
    let mut run = Run::new(code);
    assert!(matches!(run.go(), State::Blocked(_)));
    run.now += Duration::from_secs(9);
    run.send(cancel("enough"));
    let live = run.finish().expect("ends well");
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), live);
}

#[test]
fn a_loop_that_tries_again_whatever_happens_is_ended() {
    let mut run = Run::new(|ctx| async move {
        loop {
            if let Ok(value) = ctx.step("a", async || Err::<u32, _>(Failure::fatal("no"))).await {
                break Ok(json!(value));
            }
            if ctx.sleep(Duration::from_secs(1)).await.is_err() {
                continue;
            }
        }
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    run.send(cancel("enough"));
    assert_eq!(failure(run.finish(), FailureKind::Cancelled), "enough");
    run.hang_up();
    assert_eq!(failure(run.finish(), FailureKind::Cancelled), "enough");
}

#[test]
fn children_are_cancelled_even_if_the_turn_was_refused() {
    let mut run = Run::new(|ctx| async move {
        let _child = ctx.invoke(Nothing, 1);
        let wait = ctx.wait_for_event::<u32>("e").timeout(Duration::from_secs(5)).await;
        assert!(wait.expect_err("nobody emits it").is_timeout());
        Ok(json!(null))
    });
    let State::Blocked(Some(due)) = run.go() else { panic!("waits") };
    run.now = due;
    let Next::Commit { turn: refused, .. } = run.machine.drive(run.now) else { panic!("the timeout") };
    assert_eq!((refused.not_before, refused.unsubscribe.len()), (Some(due), 1));
    run.machine.refused();
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the timeout again") };
    assert_eq!(turn, refused);
    run.commit(&turn);
    let Next::Commit { turn: refused, .. } = run.machine.drive(run.now) else { panic!("the end") };
    assert!(matches!(refused.then, Then::Finish { .. }));
    assert_eq!(refused.sends.len(), 1);
    run.machine.refused();
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the end again") };
    assert_eq!(turn, refused);
}
