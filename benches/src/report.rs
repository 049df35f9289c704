//! Figures, as a table and as JSON.

use serde_json::{Map, Value, json};

use crate::AnyError;

/// What was measured.
#[derive(Default)]
pub struct Report {
    machine: Map<String, Value>,
    rows: Vec<(String, String, f64, String)>,
}

impl Report {
    /// Notes the machine, the server and its settings.
    pub async fn describe(&mut self, url: &str) -> Result<(), AnyError> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        self.machine.insert("cores".into(), json!(cores));
        self.machine.insert("debug_build".into(), json!(cfg!(debug_assertions)));
        if url.starts_with("postgres") {
            let pool = sqlx::PgPool::connect(url).await?;
            for setting in ["server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections"] {
                let value: String =
                    sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&pool).await?;
                self.machine.insert(setting.into(), json!(value));
            }
            pool.close().await;
        } else {
            self.machine.insert("store".into(), json!("sqlite"));
        }
        Ok(())
    }

    /// Adds a figure.
    pub fn add(&mut self, workload: &str, figure: &str, value: f64, unit: &str) {
        eprintln!("{workload:12} {figure:46} {value:12.2} {unit}");
        self.rows.push((workload.into(), figure.into(), value, unit.into()));
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("{}", serde_json::to_string(&self.machine).unwrap_or_default());
        for (workload, figure, value, unit) in &self.rows {
            println!("{workload:12} {figure:46} {value:12.2} {unit}");
        }
        println!("{}", self.json());
    }

    /// The figures as one JSON object.
    pub fn json(&self) -> String {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(workload, figure, value, unit)| {
                json!({"workload": workload, "figure": figure, "value": value, "unit": unit})
            })
            .collect();
        json!({"machine": self.machine, "figures": rows}).to_string()
    }
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
