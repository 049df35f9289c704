//! TLS with full verification: a certificate that nobody vouches for, or that is another host's, is refused.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use workflow::postgres::PgStore;
use workflow_testserver::{Options, Server, Shutdown};

use crate::flow;
use crate::support::{program, run, run_sql, skipped};

/// Makes a certificate for a name in the server's data directory, signed by itself.
fn certify(server: &Server, subject: &str) -> PathBuf {
    let data = server.directory().join("data");
    let (key, certificate) = (data.join("server.key"), data.join("server.crt"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=workflow test", "-addext", &format!("subjectAltName={subject}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    let owner = std::fs::metadata(&data).expect("is there");
    for file in [&key, &certificate] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("can be set");
        std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).expect("can be given away");
    }
    certificate
}

async fn refused(url: &str) -> String {
    let error = PgStore::connect(url).await.expect_err("is refused");
    assert_eq!(error.code(), "STORE_UNUSABLE");
    let told = error.to_string();
    for words in ["TLS failed", "sslrootcert=FILE", "sslmode=disable"] {
        assert!(told.contains(words), "{words:?} is missing in: {told}");
    }
    told
}

fn copy_of(certificate: &Path) -> PathBuf {
    let copy = std::env::temp_dir().join(format!("workflow-{}.crt", uuid::Uuid::new_v4()));
    std::fs::copy(certificate, &copy).expect("can be copied");
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_is_refused_and_needs_openssl() {
    if program("openssl").is_none() {
        return skipped("there is no openssl to make a certificate with");
    }
    let server = Server::start(Options::default()).await.expect("a server");
    let url = server.url("postgres");
    // A server that speaks no TLS at all.
    let told = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(told.contains("does not support TLS"), "{told}");
    let certificate = copy_of(&certify(&server, "IP:127.0.0.1"));
    run_sql(&url, "ALTER SYSTEM SET ssl = on").await;
    server.restart(Shutdown::Fast).await.expect("restarts");
    let told = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(told.contains("certificate"), "{told}");
    let vouched = format!("{url}?sslmode=verify-full&sslrootcert={}", certificate.display());
    let executor = flow::start(PgStore::connect(&vouched).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "verified").await;
    executor.shutdown().await.expect("shuts down");
    // Another host's certificate, by the same hand.
    let other = copy_of(&certify(&server, "DNS:db.example.com"));
    server.restart(Shutdown::Fast).await.expect("restarts");
    let told = refused(&format!("{url}?sslmode=verify-full&sslrootcert={}", other.display())).await;
    assert!(told.contains("certificate") && told.contains("name"), "{told}");
    // Taken at its word.
    PgStore::connect(&format!("{url}?sslmode=require")).await.expect("connects");
    for copy in [certificate, other] {
        std::fs::remove_file(copy).expect("can be removed");
    }
}
