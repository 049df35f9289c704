//! Operations and branches that nothing tells apart.

use super::*;

#[test]
fn random_numbers_of_scopes_are_the_same_whoever_is_polled_first() {
    thread_local! {
        static SEEN: RefCell<Vec<(u8, u64)>> = const { RefCell::new(Vec::new()) };
    }
    let code = |ctx: Ctx| async move {
        let draw = |n: u8| {
            let ctx = ctx.scope(format!("b{n}"));
            async move {
                SEEN.with_borrow_mut(|seen| seen.push((n, ctx.random())));
                ctx.sleep(Duration::from_secs(u64::from(n))).await
            }
        };
        tokio::select! { r = draw(1) => r?, r = draw(2) => r?, r = draw(3) => r? }
        Ok(json!(null))
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        Run::new(code).finish().expect("ends well");
        let mut drawn = SEEN.take();
        drawn.truncate(3);
        drawn.sort_unstable();
        seen.insert(drawn);
    }
    assert_eq!(seen.len(), 1);
}

/// The one known ambiguity: nothing tells the two steps apart, so a verified run is parked sooner or later, as
/// soon as the difference shows.
#[test]
fn the_same_helper_in_branches_polled_in_random_order_is_found_by_verification() {
    async fn charge(ctx: &Ctx, who: &'static str) -> Result<&'static str, Failure> {
        ctx.step("charge", async || Ok(())).await?;
        Ok(who)
    }
    let code = |ctx: Ctx| async move {
        for _ in 0..30 {
            let who = tokio::select! { who = charge(&ctx, "card") => who?, who = charge(&ctx, "bank") => who? };
            ctx.step(who, async || Ok(())).await?;
        }
        Ok(json!(null))
    };
    let mut run = Run::with(Arc::new(Closure(code)), Vec::new(), true);
    let message = parked(run.go(), "DIVERGED");
    assert!(message.contains("replayed right after its commit"), "{message}");
    let scoped = |ctx: Ctx| async move {
        for _ in 0..30 {
            let (card, bank) = (ctx.scope("card"), ctx.scope("bank"));
            let who = tokio::select! { who = charge(&card, "card") => who?, who = charge(&bank, "bank") => who? };
            ctx.step(who, async || Ok(())).await?;
        }
        Ok(json!(null))
    };
    Run::with(Arc::new(Closure(scoped)), Vec::new(), true).finish().expect("ends well");
}
