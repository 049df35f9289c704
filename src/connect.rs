//! A store from a URL.

use std::sync::Arc;

use workflow_core::{MemoryStore, Store};

use crate::error::{Error, Misuse};

/// Opens the store that `url` names:
///
/// - `postgres://USER:PASSWORD@HOST/DATABASE`: a Postgres database (feature `postgres`, on by default);
/// - `sqlite:PATH` or `sqlite://PATH`: a file, created if it isn't there (feature `sqlite`, on by default);
/// - `memory:`: nothing is kept when the process ends.
///
/// The schema is created, or brought to this version, when an executor starts; call
/// [`Store::migrate`](workflow_core::Store::migrate) to do it earlier.
///
/// # Errors
///
/// [`Error::Misuse`] for another URL, [`Error::Store`] when the database can't be opened.
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "postgres" | "postgresql" => postgres(url).await,
        "sqlite" => sqlite(url).await,
        "memory" => Ok(Arc::new(MemoryStore::default())),
        _ => Err(Misuse::UnknownStore { url: redact(url) }.into()),
    }
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(workflow_pg::PgStore::connect(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Arc<dyn Store>, Error> {
    Err(Misuse::MissingFeature { feature: "postgres" }.into())
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(workflow_sqlite::SqliteStore::connect(url).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str) -> Result<Arc<dyn Store>, Error> {
    Err(Misuse::MissingFeature { feature: "sqlite" }.into())
}

/// The URL without what stands between `//` and `@`.
fn redact(url: &str) -> String {
    match (url.find("//"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}//...{}", &url[..start], &url[end..]),
        _ => url.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_url_is_refused_without_its_password() {
        let error = connect("mysql://me:secret@host/db").await.expect_err("no such store");
        assert!(!error.to_string().contains("secret"));
        assert!(error.to_string().contains("mysql://...@host/db"), "{error}");
        assert_eq!(error.code(), "MISUSE");
    }
}
