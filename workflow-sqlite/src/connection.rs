//! The connections: one writer, a few readers, and transactions that are rolled back when they are dropped.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Database, SqlSafeStr, Sqlite};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, OwnedMutexGuard};
use workflow_core::StoreError;

use crate::error;

type Manager = <Sqlite as Database>::TransactionManager;

/// A connection that is opened when it is needed, and again after an error that spoiled it.
#[derive(Debug)]
pub(crate) struct Slot {
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    path: PathBuf,
    /// Something went wrong or was cut short: look at the connection before using it again.
    suspect: bool,
    closed: bool,
}

impl Slot {
    pub(crate) fn new(options: SqliteConnectOptions, path: PathBuf) -> Self {
        Self { connection: None, options, path, suspect: false, closed: false }
    }

    /// The connection, opened if need be.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if self.closed {
            return Err(StoreError::Unavailable(format!("{}: the store was shut down", self.path.display())));
        }
        if std::mem::take(&mut self.suspect)
            && let Some(connection) = self.connection.as_mut()
        {
            // SQLite rolls back on its own after some errors, a full disk for one. `sqlx` then counts a transaction
            // that isn't there, for ever.
            let answers = connection.ping().await.is_ok();
            if !answers || Manager::get_transaction_depth(connection) > 0 {
                self.connection = None;
            }
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|e| error::open(&self.path, e))?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Has the connection looked at before it is used again.
    pub(crate) fn suspect(&mut self) {
        self.suspect = true;
    }

    async fn close(&mut self) {
        self.closed = true;
        if let Some(connection) = self.connection.take() {
            // Nothing is lost when closing fails: the log beside the file is read at the next opening.
            connection.close().await.ok();
        }
    }
}

/// The connections of a store.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) writer: Arc<Mutex<Slot>>,
    /// The writer itself for a database in memory, which no other connection can see.
    readers: Vec<Arc<Mutex<Slot>>>,
    next_reader: AtomicUsize,
    closed: AtomicBool,
}

impl Connections {
    pub(crate) fn new(writer: Slot, readers: Vec<Slot>) -> Self {
        let writer = Arc::new(Mutex::new(writer));
        let mut readers: Vec<_> = readers.into_iter().map(|slot| Arc::new(Mutex::new(slot))).collect();
        if readers.is_empty() {
            readers.push(Arc::clone(&writer));
        }
        Self { writer, readers, next_reader: AtomicUsize::new(0), closed: AtomicBool::new(false) }
    }

    /// A reader: one that is free, or the next in turn.
    pub(crate) async fn reader(&self) -> OwnedMutexGuard<Slot> {
        for reader in &self.readers {
            if let Ok(guard) = Arc::clone(reader).try_lock_owned() {
                return guard;
            }
        }
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len();
        Arc::clone(&self.readers[turn]).lock_owned().await
    }

    /// Waits for the writer and begins a transaction that holds the file's write lock from the start, so that it
    /// never has to be upgraded and fails in the middle.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let mut slot = Arc::clone(&self.writer).lock_owned().await;
        slot.connection().await?;
        // Made first: when this future is dropped while it waits, the transaction is rolled back all the same.
        let mut tx = Tx { slot, levels: 1 };
        Manager::begin(&mut tx, Some("BEGIN IMMEDIATE".into_sql_str())).await.map_err(error::statement)?;
        Ok(tx)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for slot in std::iter::once(&self.writer).chain(&self.readers) {
            slot.lock().await.close().await;
        }
    }
}

/// A transaction on the writer. Dropping it rolls it back.
#[derive(Debug)]
pub(crate) struct Tx {
    slot: OwnedMutexGuard<Slot>,
    /// How many parts are open: itself, and savepoints begun in it.
    levels: u32,
}

impl Tx {
    /// Commits.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        Manager::commit(&mut self).await.map_err(error::commit)?;
        self.levels -= 1;
        Ok(())
    }

    /// Rolls back and waits until it is done.
    pub(crate) async fn rollback(mut self) -> Result<(), StoreError> {
        while self.levels > 0 {
            Manager::rollback(&mut self).await.map_err(error::statement)?;
            self.levels -= 1;
        }
        Ok(())
    }

    /// Begins a part that can be ended on its own.
    pub(crate) async fn savepoint(&mut self) -> Result<(), sqlx::Error> {
        Manager::begin(self, None).await?;
        self.levels += 1;
        Ok(())
    }

    /// Ends the innermost part.
    pub(crate) async fn release(&mut self) -> Result<(), sqlx::Error> {
        Manager::commit(self).await?;
        self.levels -= 1;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.slot.connection.as_ref().expect("a transaction has its connection until it ends")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.slot.connection.as_mut().expect("a transaction has its connection until it ends")
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        for _ in 0..std::mem::take(&mut self.levels) {
            self.slot.suspect();
            Manager::start_rollback(self);
        }
    }
}
