//! Panics of the engine itself: nobody may see one. (Those of steps are caught, and come here not.)

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes the panics of this thread since the last call. The first call of a process has to come before any executor
/// starts: the hook that tells the panics of steps apart hands the others on to the one that was there before it.
pub(crate) fn forget() -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
    PANICS.with_borrow_mut(std::mem::take)
}
