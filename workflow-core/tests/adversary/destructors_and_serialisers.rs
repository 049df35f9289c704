//! User code that runs where nobody expects it: destructors, serialisers, hashers.

use super::*;

/// A value whose (de)serialisation panics when told to.
struct Mine(&'static str);

thread_local! {
    static READING_PANICS: Cell<bool> = const { Cell::new(false) };
}

impl Serialize for Mine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != "unwritable", "can't be written");
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Mine {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert!(!READING_PANICS.get(), "can't be read");
        String::deserialize(deserializer).map(|_| Mine("read"))
    }
}

#[test]
fn a_panicking_serialiser_fails_the_step_once() {
    let ran = Count::default();
    let mut run = run_with(&ran, |ctx, ran| async move {
        ctx.step("a", async || {
            ran.up();
            Ok(Mine("unwritable"))
        })
        .await?;
        Ok(json!(null))
    });
    assert!(failure(run.finish(), FailureKind::Panicked).contains("can't be written"));
    assert_eq!(ran.get(), 1);
}

#[test]
fn a_panicking_deserialiser_parks_the_run() {
    let mut run = Run::new(|ctx| async move {
        ctx.step("a", async || Ok(Mine("fine"))).await?;
        ctx.sleep(HOUR).await?;
        Ok(json!(null))
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    READING_PANICS.set(true);
    run.hang_up();
    let message = parked(run.go(), "PAYLOAD");
    READING_PANICS.set(false);
    assert!(message.contains("step a (workflow-core/tests/adversary/destructors_and_serialisers.rs:"), "{message}");
    assert!(message.contains("can't be read"), "{message}");
}

#[test]
fn panicking_destructors_of_bodies_and_workflows_are_survived() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("bomb");
            }
        }
    }
    let mut run = Run::new(|ctx| async move {
        let captured = Bomb;
        let step = ctx.step("captures", async move || {
            let _captured = &captured;
            Ok(1)
        });
        let value = step.await?;
        let left = ctx.step("local", async || {
            let _bomb = Bomb;
            Ok::<u32, Failure>(2)
        });
        assert!(left.retry(RetryPolicy::none()).await.expect_err("panicked").message().contains("bomb"));
        let _last = Rc::new(Bomb);
        Ok(json!(value))
    });
    let ended = run.finish();
    assert_eq!(failure(ended, FailureKind::Panicked).split(": ").last(), Some("bomb"));
    let mut waiting = Run::new(|ctx| async move {
        let _bomb = Bomb;
        ctx.sleep(HOUR).await?;
        Ok(json!(null))
    });
    assert!(matches!(waiting.go(), State::Blocked(_)));
    waiting.hang_up();
}

#[test]
fn operations_in_destructors_do_no_harm() {
    let mut run = Run::new(|ctx| async move {
        let in_body = ctx.clone();
        let step = ctx.step("a", async move || {
            let _asks = OnDrop(|| drop(in_body.emit("from a body", &1)));
            Ok(1)
        });
        let value = step.await?;
        let at_end = ctx.clone();
        let _asks = OnDrop(move || drop(at_end.emit("from the end", &1)));
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(value))
    });
    run.finish().expect("ends well");
    assert!(run.turns.iter().all(|turn| turn.emits.is_empty()));
    let journal = run.journal.clone();
    assert_eq!(Run::with(run.workflow.clone(), journal, true).finish().expect("ends well"), json!(1));
}
