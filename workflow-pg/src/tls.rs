//! TLS: what leaves the machine is encrypted, and goes to who it is meant for.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Asks for full verification where the server isn't on this machine and the URL doesn't say otherwise. (The driver's own
/// default is to go without TLS when the server has none, or somebody in between says so.)
pub(crate) fn secured(target: PgConnectOptions, url: &str) -> PgConnectOptions {
    if is_local(&target) {
        return target;
    }
    if !asks_for_a_mode(url) && std::env::var_os("PGSSLMODE").is_none() {
        return target.ssl_mode(PgSslMode::VerifyFull);
    }
    let mode = target.get_ssl_mode();
    if !matches!(mode, PgSslMode::VerifyFull) {
        tracing::warn!(
            host = target.get_host(),
            ?mode,
            "the connection to Postgres leaves this machine with less than full verification: whoever is in between can \
             read and change everything; leave sslmode out, or set it to verify-full"
        );
    }
    target
}

fn is_local(target: &PgConnectOptions) -> bool {
    let host = target.get_host();
    let name = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    target.get_socket().is_some()
        || host.starts_with('/')
        || name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn asks_for_a_mode(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| ["sslmode", "ssl-mode"].contains(&pair.split('=').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn mode(url: &str) -> String {
        format!("{:?}", secured(PgConnectOptions::from_str(url).expect("a URL"), url).get_ssl_mode())
    }

    #[test]
    fn other_machines_are_verified_unless_told_otherwise() {
        for url in [
            "postgres://me:pw@db.example.com/app",
            "postgres://10.1.2.3:5433/app",
            "postgres://[2001:db8::1]/app",
            "postgres://me:a%3Fsslmode%3Ddisable@db/app?application_name=x",
            "postgres://localhost.example.com/app",
            "postgres:///app?host=db",
        ] {
            assert_eq!(mode(url), "VerifyFull", "{url}");
        }
        for url in [
            "postgres://localhost/app",
            "postgres://127.0.0.1:5433/app",
            "postgres://127.8.9.1/app",
            "postgres://[::1]/app",
            "postgres:///app?host=/var/run/postgresql",
            "postgres://%2Fvar%2Frun%2Fpostgresql/app",
        ] {
            assert_eq!(mode(url), "Prefer", "{url}");
        }
        assert_eq!(mode("postgres://db/app?sslmode=disable"), "Disable");
        assert_eq!(mode("postgres://db/app?application_name=x&ssl-mode=require"), "Require");
        assert_eq!(mode("postgres://localhost/app?sslmode=verify-full"), "VerifyFull");
    }
}
