//! Large batches: all or nothing, and the one bad item is named.

use std::time::Duration;

use workflow::prelude::*;

use crate::support::{on_every_store, soon, stopwatch};

const ITEMS: usize = 100_000;
const BAD: usize = 77_777;

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

on_every_store! {
    async fn one_bad_item_of_a_hundred_thousand_is_named_and_nothing_is_created(stage: Stage) {
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let client = executor.client();
        let taken = client.invoke(healthy, 1).id("taken").delay(Duration::from_secs(3_600)).await.expect("invokes");
        let before = stage.picture().await;
        for (bad, code, words) in [
            ("tab\t", "MISUSE", vec!["item 77777 of the batch", "run id", "'\\t'", "nothing was created"]),
            // Only the database knows this one.
            ("taken", "ID_CONFLICT", vec!["taken", "another input"]),
        ] {
            let ids = (0..ITEMS).map(|n| if n == BAD { bad.to_owned() } else { format!("item-{n}") });
            let watch = stopwatch();
            let call = client.invoke_many(healthy, 0..ITEMS as u64).ids(ids).delay(Duration::from_secs(3_600));
            let error = call.await.expect_err("is refused");
            println!("{ITEMS} items with a bad one were refused as {} in {:?}", error.code(), watch());
            assert_eq!(error.code(), code, "{error}");
            for words in words {
                assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
            }
            if let workflow::Error::Store(workflow::StoreError::Conflict { index, existing, .. }) = &error {
                assert_eq!((*index, *existing), (BAD, taken.id()));
            }
            assert_eq!(stage.picture().await, before);
        }
        let run = client.invoke(healthy, 1).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        let watch = stopwatch();
        let all = client.invoke_many(healthy, 0..ITEMS as u64).delay(Duration::from_secs(3_600)).await.expect("invokes");
        println!("{ITEMS} items were created in {:?}", watch());
        assert_eq!(all.len(), ITEMS);
    }
}
