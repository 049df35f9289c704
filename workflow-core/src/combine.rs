//! `ctx.join` and `ctx.race`: many operations at once, for a number that is known only when the code runs.

use std::future::Future;

use crate::ctx::Ctx;

impl Ctx {
    /// Awaits all futures, side by side; their outputs in the order in which they were given.
    ///
    /// For a fixed number use `join!`: any combinator works in a workflow, as it is. At most 2,000 operations of a run
    /// may be pending at once; [`futures::StreamExt::buffer_unordered`] bounds them.
    ///
    /// # Replay
    ///
    /// The same outputs.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the futures.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// async fn sizes(ctx: Ctx, names: Vec<String>) -> Result<Vec<usize>> {
    ///     let steps = names.iter().map(|name| ctx.step("size", async move || Ok(std::fs::read(name)?.len())));
    ///     ctx.join(steps).await.into_iter().collect()
    /// }
    /// ```
    pub fn join<F: Future>(&self, futures: impl IntoIterator<Item = F>) -> impl Future<Output = Vec<F::Output>> {
        futures::future::join_all(futures)
    }

    /// Awaits the first of several futures: which one it was, from 0, and its output. The others are dropped, with
    /// their bodies; children among them go on until this run ends.
    ///
    /// # Replay
    ///
    /// The same winner: the one whose outcome was recorded first.
    ///
    /// # Panics
    ///
    /// Without any future, as it would never end.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the futures.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// async fn fastest(ctx: Ctx, mirrors: Vec<String>) -> Result<Vec<u8>> {
    ///     let fetches = mirrors.iter().map(|mirror| ctx.step("fetch", async move || Ok(std::fs::read(mirror)?)));
    ///     let (_winner, bytes) = ctx.race(fetches).await;
    ///     bytes
    /// }
    /// ```
    pub fn race<F: Future>(&self, futures: impl IntoIterator<Item = F>) -> impl Future<Output = (usize, F::Output)> {
        let all: Vec<_> = futures.into_iter().map(Box::pin).collect();
        assert!(!all.is_empty(), "a race of no operations would never end: give at least one");
        async move {
            let (output, index, _losers) = futures::future::select_all(all).await;
            (index, output)
        }
    }
}
