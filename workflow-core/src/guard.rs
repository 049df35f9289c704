//! Watches a workflow while it is polled: catches its panics with their place, and tells wake-ups of its own from
//! foreign ones.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::{Wake, Waker};

use crate::env::{Notice, Notify};

thread_local! {
    /// The run that this thread polls, or whose operations it wakes: the address of its root waker, 0 for none.
    static DRIVING: Cell<usize> = const { Cell::new(0) };
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
    /// `panicked at file:line: message`.
    pub fn describe(&self) -> String {
        let place = self.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        format!("panicked{place}: {}", self.message)
    }

    /// Whether tokio complained that it isn't there: something was awaited that belongs into a step.
    pub(crate) fn is_missing_runtime(&self) -> bool {
        // Tokio's own words, and those of sqlx and others about it.
        ["no reactor running", "Tokio 1.x", "Tokio context", "`spawn_local` called from outside"]
            .iter()
            .any(|words| self.message.contains(words))
    }
}

/// Calls `f`; a panic is caught, and its place remembered instead of printed.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Caught> {
    install_hook();
    if !std::thread::panicking() {
        // Of a panic that the user's code has caught itself.
        PANIC_PLACE.with(|p| p.borrow_mut().take());
    }
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
    let path = path.replace('\\', "/");
    ["/registry/src/", "/git/checkouts/", "/vendor/", "/rustlib/src/"].iter().any(|part| path.contains(part))
        || path.starts_with("/rustc/")
}

/// The innermost frame below the panic itself that is no library's, where debug information is there.
fn user_frame() -> Option<String> {
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    let places = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    // Above the panic are this hook and its callers.
    let mut below = places.skip_while(|place| !place.contains("panicking.rs:"));
    let place = below.find(|place| !is_library(place) && place.contains(".rs:"))?;
    let place = match place.rsplit_once(':') {
        Some((file_line, column)) if column.bytes().all(|b| b.is_ascii_digit()) => file_line,
        _ => place,
    };
    Some(place.trim_start_matches("./").to_owned())
}

/// Marks this thread as polling a run until dropped.
pub(crate) struct Driving(usize);

pub(crate) fn driving(root: &Arc<RootWake>) -> Driving {
    Driving(DRIVING.with(|d| d.replace(root.id())))
}

/// Wakes places in a run's code. A waker may be the user's own, and may panic.
pub(crate) fn wake(root: &Arc<RootWake>, wakers: impl IntoIterator<Item = Waker>) {
    let _driving = driving(root);
    for waker in wakers {
        if catch(|| waker.wake()).is_err() {
            tracing::error!("a waker of the workflow panicked");
        }
    }
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
    notify: Notify,
}

impl RootWake {
    pub(crate) fn new(notify: Notify) -> Arc<Self> {
        Arc::new(Self { internal: AtomicBool::new(false), foreign: AtomicBool::new(false), notify })
    }

    fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
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
        // A wake-up from the poll of another run on this thread is as foreign as one from another thread.
        if DRIVING.with(Cell::get) == self.id() {
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
