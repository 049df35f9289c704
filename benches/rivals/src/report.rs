//! What a measurement prints.

use serde_json::{Map, Value, json};

use crate::rival::{Rival, Site, version};

/// The figures of one measurement, by the names that the README gives.
#[derive(Default)]
pub struct Figures(Map<String, Value>);

impl Figures {
    /// Adds one.
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.to_owned(), json!(value));
        self
    }
}

/// The one line of JSON.
pub fn line<R: Rival>(site: &Site, in_flight: Option<usize>, size: Option<u32>, figures: Figures) -> String {
    let mut settings = R::settings(site);
    if let Value::Object(settings) = &mut settings {
        settings.extend(in_flight.map(|number| ("in_flight".to_owned(), json!(number))));
        settings.extend(size.map(|number| ("size".to_owned(), json!(number))));
        settings.extend(site.set.iter().map(|(name, value)| (name.clone(), json!(value))));
    }
    let line = json!({
        "rival": R::NAME,
        "version": version::<R>(),
        "workload": site.workload.name(),
        "settings": settings,
        "figures": figures.0,
    });
    line.to_string()
}
