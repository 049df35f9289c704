//! The limits of a run.

use super::*;

fn grows(max_entries: u32) -> Run {
    let code = Closure(|ctx: Ctx| async move {
        for i in 0..100 {
            ctx.step("a", async || Ok(i)).await?;
        }
        Ok(json!(null))
    });
    Run::with_options(Arc::new(code), Vec::new(), MachineOptions { max_entries, ..MachineOptions::default() })
}

#[test]
fn a_full_journal_parks_the_run_and_more_room_lets_it_go_on() {
    let mut run = grows(10);
    let message = parked(run.go(), "JOURNAL_FULL");
    assert!(message.contains("11 entries"), "{message}");
    let mut more = Run::with(run.workflow.clone(), run.journal.clone(), false);
    more.finish().expect("ends well");
}

#[test]
fn a_run_with_a_full_journal_can_be_cancelled() {
    let mut run = grows(10);
    parked(run.go(), "JOURNAL_FULL");
    run.hang_up();
    run.send(cancel("enough"));
    failure(run.finish(), FailureKind::Cancelled);
}

#[test]
fn a_huge_failure_is_shortened() {
    let code =
        Closure(
            |_| async move { Err::<Value, _>(Failure::new("x".repeat(100_000)).with_details(&"y".repeat(100_000))) },
        );
    let options = MachineOptions { max_payload_bytes: 5_000, ..MachineOptions::default() };
    let mut run = Run::with_options(Arc::new(code), Vec::new(), options);
    let message = failure(run.finish(), FailureKind::Failed);
    assert!(message.len() < 1_100 && message.ends_with(".. (shortened)"), "{}", message.len());
}

#[test]
fn a_message_for_people_holds_no_nul() {
    let mut run = Run::new(|_| async move { panic!("no reactor running \0 here") });
    assert!(!parked(run.go(), "FOREIGN_AWAIT").contains('\0'));
}
