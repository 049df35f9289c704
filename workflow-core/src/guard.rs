//! Watches a workflow while it is polled: catches its panics with their place, and tells wake-ups of its own from
//! foreign ones.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::Wake;

use crate::env::{Notice, Notify};

thread_local! {
    /// Set while this thread polls a workflow or wakes one of its operations.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic of the user's code.
#[derive(Debug, Clone)]
pub(crate) struct Caught {
    /// The panic's message.
    pub message: String,
    /// `file:line` of the user's code that led to it, as well as it can be told.
    pub place: Option<String>,
}

impl Caught {
    /// Whether tokio complained that it isn't there: something was awaited that belongs into a step.
    pub(crate) fn is_missing_runtime(&self) -> bool {
        [
            "no reactor running",
            "Tokio 1.x",
            "Tokio context",
            "no current reactor",
            "IO is disabled",
            "timers are disabled",
        ]
        .iter()
        .any(|words| self.message.contains(words))
    }
}

/// Calls `f`; a panic is caught, and its place remembered instead of printed.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Caught> {
    install_hook();
    let before = CATCHING.with(|c| c.replace(true));
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.with(|c| c.set(before));
    result.map_err(|payload| Caught {
        message: panic_message(payload),
        place: PANIC_PLACE.with(|p| p.borrow_mut().take()),
    })
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned());
    // The payload's own destructor is the user's code as well.
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(second);
    }
    message
}

/// Panics inside [`catch`] are told by the run's failure and by `tracing`; any other goes to the hook that was there.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.with(Cell::get) {
                let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
                let place = match &place {
                    Some(p) if is_library(p) => user_frame().or(place),
                    _ => place,
                };
                tracing::error!(place = place.as_deref().unwrap_or("?"), "panic in a workflow or step");
                PANIC_PLACE.with(|p| *p.borrow_mut() = place);
            } else {
                previous(info);
            }
        }));
    });
}

fn is_library(path: &str) -> bool {
    path.contains("/.cargo/registry/")
        || path.contains("/rustc/")
        || path.contains("/library/")
        || path.contains("/vendor/")
}

/// The innermost frame of the current stack that is no library's, where debug information is there.
fn user_frame() -> Option<String> {
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    let frames = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    frames
        .filter(|place| !is_library(place) && !place.contains("workflow-core/src/") && place.contains(".rs:"))
        .map(|place| match place.rsplit_once(':') {
            Some((file_line, column)) if column.bytes().all(|b| b.is_ascii_digit()) => file_line.to_owned(),
            _ => place.to_owned(),
        })
        .next()
}

/// Marks this thread as polling a workflow until dropped.
pub(crate) struct Driving(bool);

pub(crate) fn driving() -> Driving {
    Driving(DRIVING.with(|d| d.replace(true)))
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.with(|d| d.set(self.0));
    }
}

/// The waker that a workflow's future is polled with.
pub(crate) struct RootWake {
    internal: AtomicBool,
    foreign: AtomicBool,
    thread: std::thread::ThreadId,
    notify: Notify,
}

impl RootWake {
    pub(crate) fn new(notify: Notify) -> Arc<Self> {
        Arc::new(Self {
            internal: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            thread: std::thread::current().id(),
            notify,
        })
    }

    /// Whether something woke the workflow during our own poll, and forgets it.
    pub(crate) fn take_internal(&self) -> bool {
        self.internal.swap(false, Ordering::Relaxed)
    }

    /// Whether something that is no operation ever woke the workflow from outside.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Acquire)
    }
}

impl Wake for RootWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if DRIVING.with(Cell::get) && std::thread::current().id() == self.thread {
            self.internal.store(true, Ordering::Relaxed);
        } else if !self.foreign.swap(true, Ordering::AcqRel) {
            (self.notify)(Notice::Foreign);
        }
    }
}

/// The waker that a step's body is polled with.
pub(crate) struct BodyWake {
    ready: AtomicBool,
    op: usize,
    notify: Notify,
}

impl BodyWake {
    pub(crate) fn new(op: usize, notify: Notify) -> Arc<Self> {
        Arc::new(Self { ready: AtomicBool::new(true), op, notify })
    }

    /// Whether the body is to be polled, and forgets it.
    pub(crate) fn take_ready(&self) -> bool {
        self.ready.swap(false, Ordering::AcqRel)
    }
}

impl Wake for BodyWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.ready.swap(true, Ordering::AcqRel) {
            (self.notify)(Notice::Body(self.op));
        }
    }
}
