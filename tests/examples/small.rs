//! Each small example on each store.

use crate::program::{TempDir, run};

fn prints(name: &str, url: &str, lines: &[&str]) {
    let output = run(name, &[url]);
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} on {url}: {}\n{told}{errors}", output.status);
    assert_eq!(told.lines().collect::<Vec<_>>(), lines, "{name} on {url}");
}

fn sqlite_prints(name: &str, lines: &[&str]) {
    let directory = TempDir::new();
    prints(name, &format!("sqlite:{}", directory.path().join("runs.db").display()), lines);
}

async fn postgres_prints(name: &str, lines: &[&str]) {
    let database = workflow_testserver::test_database().await.expect("a database");
    prints(name, database.url(), lines);
}

macro_rules! examples {
    ($($name:ident on $($store:ident),+: $lines:expr;)*) => {
        $(mod $name {
            const NAME: &str = stringify!($name);
            const LINES: &[&str] = &$lines;
            $(examples!($store);)+
        })*
    };
    (memory) => {
        #[test]
        fn memory() {
            super::prints(NAME, "memory:", LINES);
        }
    };
    (sqlite) => {
        #[test]
        fn sqlite() {
            super::sqlite_prints(NAME, LINES);
        }
    };
    (postgres) => {
        #[tokio::test]
        async fn postgres() {
            super::postgres_prints(NAME, LINES).await;
        }
    };
}

examples! {
    hello on memory, sqlite, postgres: ["Hello, ADA!"];
    order on memory, sqlite, postgres: ["order 7: 12.50 EUR, parcel to 12 Elm Street", "the same run: true"];
    approval on memory, sqlite, postgres: [
        "Approved { by: \"Ada\" }",
        "Rejected { by: \"Grace\" }",
        "NobodyAnswered",
    ];
    fan_out on memory, sqlite, postgres: [
        "12 squares: 650",
        "20 squares: 13 brings bad luck",
        "200 squares: 2686531, 1 failed",
    ];
    // What is in memory doesn't survive.
    crash on sqlite, postgres: [
        "life 1: goes there",
        "life 1: dies on the way back",
        "life 1 ended in a crash",
        "life 2: comes back",
        "life 2: there and back",
        "life 2 ended well",
    ];
}
