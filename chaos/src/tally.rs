//! What landed: counted by its effect, not by the attempt.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::options::Class;

#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(Class, &'static str), u64>>);

impl Tally {
    /// A fault of this class landed, in this form.
    pub fn landed(&self, class: Class, form: &'static str) {
        self.add(class, form, 1);
    }

    pub fn add(&self, class: Class, form: &'static str, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((class, form)).or_default() += count;
    }

    pub fn of(&self, class: Class, form: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|((c, f), _)| *c == class && *f == form).map(|(_, count)| count).sum()
    }

    pub fn total(&self, class: Class) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|((c, _), _)| *c == class).map(|(_, count)| count).sum()
    }

    /// All of it: per class, per form.
    pub fn json(&self) -> serde_json::Value {
        let mut classes = serde_json::Map::new();
        for ((class, form), count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let forms = classes.entry(class.name()).or_insert_with(|| serde_json::json!({}));
            forms[*form] = (*count).into();
        }
        classes.into()
    }
}
