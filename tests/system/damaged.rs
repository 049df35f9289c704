//! Rows that somebody damaged by hand hide nobody else.

use workflow::prelude::*;

use crate::support::{literals, log, on_every_database, soon};

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

on_every_database! {
    async fn a_row_that_cannot_be_read_is_left_out_of_lists(stage: Stage) {
        log::collect();
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let client = executor.client();
        let mut runs = Vec::new();
        for n in 0..4 {
            let run = client.invoke(healthy, n).await.expect("invokes");
            soon("result", run.result()).await.expect("completes");
            runs.push(run.id());
        }
        for damaged in &runs[1..3] {
            let (pg, lite) = literals(*damaged);
            stage.edit(
                &format!("UPDATE workflow.runs SET crashes = -7 WHERE id = {pg}"),
                &format!("UPDATE wf_run SET crashes = -7 WHERE id = {lite}"),
            ).await;
        }
        let ids = |list: Vec<workflow::RunStatus>| list.iter().map(|run| run.id()).collect::<Vec<_>>();
        assert_eq!(ids(client.list().await.expect("lists")), [runs[3], runs[0]]);
        // Their places in a page are taken by others.
        assert_eq!(ids(client.list().limit(2).await.expect("lists")), [runs[3], runs[0]]);
        assert_eq!(ids(client.list().limit(1).before(runs[3]).await.expect("lists")), [runs[0]]);
        assert!(!log::lines_with(&["ERROR", "CORRUPT", &runs[1].to_string(), "left out"]).is_empty());
        let error = client.status(runs[1]).await.expect_err("is damaged");
        assert_eq!(error.code(), "CORRUPT");
        assert!(error.to_string().contains(&runs[1].to_string()) && error.to_string().contains("-7"), "{error}");
        let run = client.invoke(healthy, 1).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
    }
}
