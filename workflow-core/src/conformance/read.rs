//! Cases of looking: finding, listing, and reading journals by pages.

use super::bench::{Bench, finish, hang_up_for, json, names, new_run, park, turn, with_input};
use crate::ids::RunId;
use crate::journal::OpKey;
use crate::store::{ListFilter, NewRun, ParentRef, RunRef, Status, Turn};

async fn list(b: &Bench, filter: &ListFilter) -> Vec<RunId> {
    b.store().list(filter).await.expect("runs can be listed").into_iter().map(|r| r.id).collect()
}

pub async fn find_answers_in_order(b: &Bench) {
    let one = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    let two = new_run();
    b.created(one.clone()).await;
    b.created(two.clone()).await;
    let refs = [
        RunRef::Id(two.id),
        RunRef::InvokeId("unknown".into()),
        RunRef::InvokeId("order-1".into()),
        RunRef::Id(RunId::generate()),
        RunRef::Id(one.id),
        RunRef::Id(two.id),
    ];
    let found = b.store().find(&refs).await.expect("runs can be found");
    let ids: Vec<_> = found.iter().map(|r| r.as_ref().map(|r| r.id)).collect();
    assert_eq!(ids, [Some(two.id), None, Some(one.id), None, Some(one.id), Some(two.id)]);
    assert_eq!(found[2], found[4]);
    assert_eq!(b.store().find(&[]).await.expect("nothing to find"), []);
}

pub async fn find_by_invoke_id_is_exact(b: &Bench) {
    b.created(NewRun { invoke_id: Some("Order-1".into()), ..new_run() }).await;
    for other in ["order-1", "Order-1 ", " Order-1", "Order-", "Order-%", ""] {
        assert_eq!(b.find(RunRef::InvokeId(other.into())).await, None, "{other:?}");
    }
}

pub async fn list_is_newest_first_with_payloads(b: &Bench) {
    let mut batch: Vec<_> = (0..5).map(|n| with_input(new_run(), json(&n.to_string()))).collect();
    batch.swap(1, 3);
    b.store().create(&batch, true).await.expect("runs can be created");
    batch.sort_by_key(|run| std::cmp::Reverse(run.id));
    let listed = b.store().list(&ListFilter::default()).await.expect("runs can be listed");
    assert_eq!(
        listed.iter().map(|r| (r.id, &r.input)).collect::<Vec<_>>(),
        batch.iter().map(|r| (r.id, &r.input)).collect::<Vec<_>>()
    );
    assert_eq!(listed[0], b.record(batch[0].id).await);
}

pub async fn list_filters(b: &Bench) {
    let executor = b.executor().await;
    let parent = b.owned(executor).await;
    let child = ParentRef { run: parent, key: OpKey::new("invoke", "a", 1) };
    let of = |workflow: &str, queue: &str| NewRun { workflow: workflow.into(), queue: queue.into(), ..new_run() };
    let runs = [
        NewRun { parent: Some(child.clone()), ..of("a", "one") },
        NewRun { parent: Some(child), ..of("b", "one") },
        of("a", "two"),
        of("b", "two"),
    ];
    b.store().create(&runs, true).await.expect("runs can be created");
    let all = ListFilter::default();
    for (filter, expected) in [
        (ListFilter { workflow: Some("a".into()), ..all.clone() }, vec![2, 0]),
        (ListFilter { queue: Some("one".into()), ..all.clone() }, vec![1, 0]),
        (ListFilter { queue: Some("two".into()), workflow: Some("b".into()), ..all.clone() }, vec![3]),
        (ListFilter { parent: Some(parent), ..all.clone() }, vec![1, 0]),
        (ListFilter { parent: Some(runs[0].id), ..all.clone() }, vec![]),
        (ListFilter { statuses: vec![Status::Ready], ..all.clone() }, vec![3, 2, 1, 0]),
        (ListFilter { statuses: vec![Status::Ready, Status::Failed], limit: 2, ..all.clone() }, vec![3, 2]),
        (ListFilter { before: Some(runs[2].id), statuses: vec![Status::Ready], ..all.clone() }, vec![1, 0]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|i: usize| runs[i].id).collect();
        assert_eq!(list(b, &filter).await, expected, "{filter:?}");
    }
}

pub async fn list_tells_every_status_apart(b: &Bench) {
    let executor = b.executor().await;
    let ready = b.ready().await;
    let failed = crate::store::Then::Finish { status: Status::Failed, output: json("1") };
    let cancelled = crate::store::Then::Finish { status: Status::Cancelled, output: json("1") };
    let mut expected = vec![(Status::Ready, ready), (Status::Running, b.owned(executor).await)];
    for (status, then) in [
        (Status::Waiting, hang_up_for(super::bench::LONG)),
        (Status::Completed, finish()),
        (Status::Failed, failed),
        (Status::Cancelled, cancelled),
        (Status::Parked, park("DIVERGED")),
    ] {
        let run = b.owned(executor).await;
        b.done(executor, Turn { then, ..Turn::new(run, 0) }).await;
        expected.push((status, run));
    }
    for (status, run) in expected {
        let filter = ListFilter { statuses: vec![status], ..ListFilter::default() };
        assert_eq!(list(b, &filter).await, [run], "{status}");
    }
}

pub async fn list_goes_on_from_the_page_before(b: &Bench) {
    let batch: Vec<_> = (0..25).map(|_| new_run()).collect();
    b.store().create(&batch, true).await.expect("runs can be created");
    let (mut found, mut filter) = (Vec::new(), ListFilter { limit: 10, ..ListFilter::default() });
    loop {
        let page = list(b, &filter).await;
        let Some(last) = page.last() else { break };
        filter.before = Some(*last);
        assert!(page.len() <= 10);
        found.extend(page);
    }
    let mut expected: Vec<_> = batch.iter().map(|r| r.id).collect();
    expected.sort_by_key(|id| std::cmp::Reverse(*id));
    assert_eq!(found, expected);
}

pub async fn list_has_limits(b: &Bench) {
    let batch: Vec<_> = (0..1_010).map(|_| new_run()).collect();
    b.store().create(&batch, true).await.expect("runs can be created");
    for (limit, count) in [(0, 100), (1, 1), (1_000, 1_000), (1_001, 1_000), (u32::MAX, 1_000)] {
        assert_eq!(list(b, &ListFilter { limit, ..ListFilter::default() }).await.len(), count);
    }
}

pub async fn journal_is_read_by_pages(b: &Bench) {
    let executor = b.executor().await;
    let (run, other) = (b.owned(executor).await, b.owned(executor).await);
    let entries: Vec<_> = (0..25).map(|i| i.to_string()).collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    b.commit(executor, &[turn(run, 0, &entries), turn(other, 0, &["x"])]).await;
    let mut found = Vec::new();
    for (from, length) in [(0, 10), (10, 10), (20, 5), (25, 0), (u32::MAX, 0)] {
        let page = b.store().journal(run, from, 10).await.expect("journals can be read");
        assert_eq!(page.len(), length);
        assert!(page.iter().zip(from..).all(|(e, position)| e.position == position));
        found.extend(page);
    }
    assert_eq!(names(found.iter().map(|e| &e.fact)), entries);
    assert_eq!(b.store().journal(run, 0, 0).await.expect("nothing to read"), []);
    assert_eq!(b.journal(RunId::generate()).await, []);
}
