//! The user's rows and the engine's commit together, or not at all.

mod support;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Row};
use support::{TempDir, make};
use workflow_core::store::{CreateOutcome, NewRun, RunRef, Wakeup};
use workflow_core::{ExecutorId, RunId, Store, StoreError};
use workflow_sqlite::{SqliteStore, UserTransaction, create_in};

struct Bank {
    store: Arc<SqliteStore>,
    executor: ExecutorId,
    run: RunId,
    _directory: TempDir,
}

impl Bank {
    async fn open() -> Self {
        let directory = TempDir::new();
        let store = SqliteStore::open(directory.file("bank.db")).await.expect("opens");
        store.migrate().await.expect("migrates");
        let executor = ExecutorId::generate();
        store.register(executor, "host:1", make::LONG).await.expect("registers");
        let run = NewRun { owner: Some(executor), ..make::run() };
        store.create(std::slice::from_ref(&run), true).await.expect("creates");
        let mut tx = store.begin_user(make::LONG).await.expect("begins");
        sqlx::raw_sql("CREATE TABLE transfer (amount INTEGER)").execute(&mut *tx).await.expect("creates");
        store.commit_plain(tx).await.expect("commits");
        Self { store: Arc::new(store), executor, run: run.id, _directory: directory }
    }

    async fn begin(&self) -> UserTransaction {
        let mut tx = self.store.begin_user(make::LONG).await.expect("begins");
        sqlx::query("INSERT INTO transfer (amount) VALUES (7)").execute(&mut *tx).await.expect("inserts");
        tx
    }

    async fn commit(&self, tx: UserTransaction, position: u32) -> Result<(), StoreError> {
        self.store.commit_user(tx, self.executor, self.run, position, &make::fact("pay")).await.map(drop)
    }

    /// How many transfers and entries there are.
    async fn counts(&self) -> (i64, usize) {
        let mut tx = self.store.begin_user(make::LONG).await.expect("begins");
        let row = sqlx::query("SELECT COUNT(*) FROM transfer").fetch_one(&mut *tx).await.expect("counts");
        (row.get(0), self.store.journal(self.run, 0, 100).await.expect("reads").len())
    }
}

#[tokio::test]
async fn rows_and_entry_commit_together() {
    let bank = Bank::open().await;
    let tx = bank.begin().await;
    bank.commit(tx, 0).await.expect("commits");
    assert_eq!(bank.counts().await, (1, 1));
    assert!(bank.store.landed(bank.run, 0).await.expect("reads"));
}

#[tokio::test]
async fn a_taken_position_rolls_the_rows_back() {
    let bank = Bank::open().await;
    bank.store.commit(bank.executor, &[make::turn(bank.run, 0, 1)]).await.expect("commits");
    let tx = bank.begin().await;
    let error = bank.commit(tx, 0).await.expect_err("taken");
    assert!(matches!(error, StoreError::PositionTaken { position: 0, .. }), "{error:?}");
    assert_eq!(bank.counts().await, (0, 1));
}

#[tokio::test]
async fn a_lost_lease_rolls_the_rows_back() {
    let bank = Bank::open().await;
    bank.store.heartbeat(bank.executor, Duration::ZERO).await.expect("shortens");
    let tx = bank.begin().await;
    let error = bank.commit(tx, 0).await.expect_err("lost");
    assert!(matches!(error, StoreError::LeaseLost(_)), "{error:?}");
    assert_eq!(bank.counts().await, (0, 0));
}

#[tokio::test]
async fn a_run_of_somebody_else_is_refused() {
    let bank = Bank::open().await;
    let other = ExecutorId::generate();
    bank.store.register(other, "host:2", make::LONG).await.expect("registers");
    let tx = bank.begin().await;
    let error = bank.store.commit_user(tx, other, bank.run, 0, &make::fact("pay")).await.expect_err("not its run");
    assert!(matches!(error, StoreError::LeaseLost(_)), "{error:?}");
    assert_eq!(bank.counts().await, (0, 0));
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_and_frees_the_writer() {
    let bank = Bank::open().await;
    drop(bank.begin().await);
    assert_eq!(bank.counts().await, (0, 0));
    bank.begin().await.rollback().await.expect("rolls back");
    assert_eq!(bank.counts().await, (0, 0));
}

#[test]
fn a_transaction_can_be_dropped_outside_of_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    let bank = runtime.block_on(Bank::open());
    let tx = runtime.block_on(bank.begin());
    drop(tx);
    assert_eq!(runtime.block_on(bank.counts()), (0, 0));
}

#[tokio::test]
async fn a_transaction_that_took_too_long_is_refused() {
    let bank = Bank::open().await;
    let mut tx = bank.store.begin_user(Duration::ZERO).await.expect("begins");
    sqlx::query("INSERT INTO transfer (amount) VALUES (7)").execute(&mut *tx).await.expect("inserts");
    let error = bank.commit(tx, 0).await.expect_err("too long");
    assert!(matches!(&error, StoreError::Unusable(text) if text.contains("longer than its limit")), "{error:?}");
    assert_eq!(bank.counts().await, (0, 0));
}

#[tokio::test]
async fn a_commit_of_the_users_own_is_noticed() {
    for word in ["COMMIT", "ROLLBACK"] {
        let bank = Bank::open().await;
        let mut tx = bank.begin().await;
        sqlx::raw_sql(word).execute(&mut *tx).await.expect("runs");
        let error = bank.commit(tx, 0).await.expect_err("ended already");
        assert!(matches!(&error, StoreError::Unusable(text) if text.contains("its own statements")), "{error:?}");
        assert_eq!(bank.counts().await.1, 0);
        let tx = bank.begin().await;
        bank.commit(tx, 0).await.expect("the next one is sound");
    }
}

#[tokio::test]
async fn savepoints_nest() {
    let bank = Bank::open().await;
    let mut tx = bank.begin().await;
    let mut inner = tx.begin().await.expect("begins");
    sqlx::query("INSERT INTO transfer (amount) VALUES (8)").execute(&mut *inner).await.expect("inserts");
    inner.rollback().await.expect("rolls back");
    bank.commit(tx, 0).await.expect("commits");
    assert_eq!(bank.counts().await, (1, 1));
}

#[tokio::test]
async fn engine_commits_wait_for_the_transaction() {
    let bank = Bank::open().await;
    let tx = bank.begin().await;
    let (store, executor, run) = (Arc::clone(&bank.store), bank.executor, bank.run);
    let waiting = tokio::spawn(async move { store.commit(executor, &[make::turn(run, 1, 1)]).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    bank.commit(tx, 0).await.expect("commits");
    waiting.await.expect("runs").expect("commits");
    assert_eq!(bank.counts().await, (1, 2));
}

#[tokio::test]
async fn runs_are_created_with_the_users_rows() {
    let bank = Bank::open().await;
    let (kept, dropped) = (make::run(), make::run());
    let mut tx = bank.begin().await;
    create_in(&mut tx, std::slice::from_ref(&dropped)).await.expect("creates");
    drop(tx);
    let (sender, woken) = std::sync::mpsc::channel();
    let _guard = bank.store.watch(Arc::new(move |wakeup| drop(sender.send(wakeup))));
    let mut tx = bank.begin().await;
    let outcomes = tx.create(&[kept.clone(), kept.clone()]).await.expect("creates");
    assert!(matches!(&outcomes[..], [CreateOutcome::Created(_), CreateOutcome::Existing(id)] if *id == kept.id));
    assert!(woken.try_recv().is_err(), "not before the commit");
    bank.store.commit_plain(tx).await.expect("commits");
    assert_eq!(woken.try_recv(), Ok(Wakeup::Ready("default".to_owned())));
    let found = bank.store.find(&[RunRef::Id(kept.id), RunRef::Id(dropped.id)]).await.expect("finds");
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}
