//! The ledger keeps what it acknowledged, whatever dies.
#![expect(clippy::disallowed_methods, reason = "tests wait, with limits, in real time, and measure")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use uuid::Uuid;
use workflow_checker::client::{BodyStart, Client, Error};
use workflow_checker::ledger::{self, Ledger, LedgerError, Tail};
use workflow_checker::record::{Answer, Op, Record, Reply, Step};

/// A directory that goes at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ledger-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("ledger")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A ledger in a process of its own.
struct Process(tokio::process::Child);

impl Process {
    async fn start(place: &Place) -> Self {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_workflow-checker"))
            .args(["ledger", "--file"])
            .arg(place.file())
            .arg("--socket")
            .arg(place.socket())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).await.expect("says when it is ready");
        assert_eq!(line, "ready\n");
        Self(child)
    }

    async fn kill(mut self) {
        self.0.kill().await.expect("killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.start_kill().ok();
    }
}

fn note(text: impl Into<String>) -> Record {
    Record::Note { text: text.into() }
}

fn notes(file: &Path) -> Vec<String> {
    let lines = ledger::read(file).expect("readable");
    let text = |record| match record {
        Record::Note { text } => Some(text),
        _ => None,
    };
    lines.into_iter().filter_map(|line| text(line.record)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_numbered_in_the_order_of_their_acknowledgements() {
    let place = Place::new();
    let _process = Process::start(&place).await;
    let client = Client::new(place.socket(), "test");
    let run = Uuid::now_v7();
    let start = BodyStart { step: Step::new(run, "charge"), attempt: 1, key: "k".to_owned(), cleanup: false };
    let body = client.body(start).await.expect("recorded");
    body.effect("charged").await.expect("recorded");
    body.end(true).await.expect("recorded");
    let op = Op::Invoke { id: Some("a".to_owned()), workflow: "order".to_owned(), input: "x".to_owned() };
    let answer = async || (7, Answer::Ok { reply: Reply::Run { run } });
    assert_eq!(client.call(op.clone(), answer()).await.expect("called"), 7);
    let lines = ledger::read(&place.file()).expect("readable");
    assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(lines[1].record, Record::BodyEffect { body: 1, what: "charged".to_owned() });
    assert!(matches!(&lines[3].record, Record::Asked { op: asked, .. } if *asked == op));
    assert!(lines.windows(2).all(|pair| pair[0].mono_us <= pair[1].mono_us));
    assert!(lines.iter().all(|line| line.from == "test" && line.sent_at <= line.at));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_many_share_a_sync() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 2_000;
    const AT_ONCE: u64 = 50;
    let place = Place::new();
    let _process = Process::start(&place).await;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for c in 0..CLIENTS {
        let client = Client::new(place.socket(), format!("client-{c}"));
        for first in 0..AT_ONCE {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                for n in (first..EACH).step_by(AT_ONCE as usize) {
                    client.append(note(format!("{c}/{n}"))).await.expect("recorded");
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("doesn't panic");
    }
    let rate = (CLIENTS * EACH) as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} records a second");
    let mut found = notes(&place.file());
    found.sort_unstable();
    let mut expected: Vec<_> = (0..CLIENTS).flat_map(|c| (0..EACH).map(move |n| format!("{c}/{n}"))).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_off_leaves_nothing_behind() {
    let place = Place::new();
    let _process = Process::start(&place).await;
    let client = Client::new(place.socket(), "test");
    client.append(note("before")).await.expect("recorded");
    let whole = r#"{"id":1,"from":"torn","sent_at":"2026-01-01T00:00:00Z","record":{"kind":"note","text":"torn"}}"#;
    for length in [1, whole.len() / 2, whole.len()] {
        let mut torn = UnixStream::connect(place.socket()).await.expect("connects");
        torn.write_all(&whole.as_bytes()[..length]).await.expect("sent");
        drop(torn);
    }
    client.append(note("after")).await.expect("recorded");
    assert_eq!(notes(&place.file()), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_is_refused_and_the_next_one_taken() {
    let place = Place::new();
    let _process = Process::start(&place).await;
    let mut stream = BufReader::new(UnixStream::connect(place.socket()).await.expect("connects"));
    let good = r#"{"id":9,"from":"x","sent_at":"2026-01-01T00:00:00Z","record":{"kind":"note","text":"good"}}"#;
    for (request, id) in [
        ("nonsense".to_owned(), None),
        ("\u{0}\u{1}".to_owned(), None),
        ("[".repeat(100_000), None),
        (good.replace("note", "unheard_of").replace("\"id\":9", "\"id\":7"), Some(7)),
        (good.replace("\"from\":\"x\",", ""), Some(9)),
        (good.replace("2026-01-01", "yesterday"), Some(9)),
    ] {
        stream.get_mut().write_all(format!("{request}\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_line(&mut answer).await.expect("answered");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["error"].is_string(), "{answer}");
        assert_eq!(answer["id"].as_u64(), id, "{answer}");
    }
    stream.get_mut().write_all(format!("{good}\n").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_line(&mut answer).await.expect("answered");
    assert_eq!(answer, "{\"id\":9,\"seq\":1}\n");
    assert_eq!(notes(&place.file()), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for life in 0..3 {
        let process = Process::start(&place).await;
        let client = Client::new(place.socket(), format!("life-{life}"));
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        let tasks: Vec<_> = (0..20)
            .map(|t| {
                let (client, told) = (client.clone(), told.clone());
                tokio::spawn(async move {
                    for n in 0.. {
                        let text = format!("{life}/{t}/{n}");
                        match client.append(note(&text)).await {
                            Ok(seq) => told.send((seq, text)).expect("listened to"),
                            Err(Error::Disconnected | Error::Connect { .. }) => return,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        drop(told);
        for _ in 0..500 {
            acknowledged.push(tell.recv().await.expect("records go on"));
        }
        process.kill().await;
        for task in tasks {
            task.await.expect("doesn't panic");
        }
        while let Some(last) = tell.recv().await {
            acknowledged.push(last);
        }
    }
    let lines = ledger::read(&place.file()).expect("readable");
    assert!(lines.windows(2).all(|pair| pair[0].mono_us <= pair[1].mono_us));
    for (seq, text) in acknowledged {
        assert_eq!(lines[seq as usize - 1].record, note(text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_connects_again_and_says_when_nobody_knows() {
    let place = Place::new();
    let client = Client::with_timeout(place.socket(), "test", Duration::from_millis(300));
    assert!(matches!(client.append(note("nobody")).await, Err(Error::Connect { .. })));
    let process = Process::start(&place).await;
    client.append(note("one")).await.expect("recorded");
    process.kill().await;
    assert!(client.append(note("lost")).await.is_err());
    let _process = Process::start(&place).await;
    client.append(note("two")).await.expect("recorded");
    drop(_process);
    // Somebody who takes everything and says nothing.
    std::fs::remove_file(place.socket()).expect("removed");
    let _silent = tokio::net::UnixListener::bind(place.socket()).expect("bound");
    let silent = Client::with_timeout(place.socket(), "test", Duration::from_millis(300));
    assert!(matches!(silent.append(note("silence")).await, Err(Error::Timeout(_))));
    assert_eq!(notes(&place.file()), ["one", "two"]);
}

#[test]
fn a_torn_end_goes_and_a_damaged_middle_is_refused() {
    let place = Place::new();
    let sent_at = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let mut ledger = Ledger::open(place.file()).expect("opens");
    let two = ["one", "two"].map(|text| ("test".to_owned(), sent_at, note(text)));
    assert_eq!(ledger.append(two.to_vec()).expect("written"), 1);
    drop(ledger);
    let append = |bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).open(place.file()).expect("opens");
        file.write_all(bytes).expect("written");
    };
    append(br#"{"seq":3,"mono_us":9,"at":"20"#);
    let mut tail = Tail::new(place.file());
    assert_eq!(tail.more().expect("readable").len(), 2);
    let mut ledger = Ledger::open(place.file()).expect("opens");
    assert_eq!(ledger.append(vec![("test".to_owned(), sent_at, note("three"))]).expect("written"), 3);
    drop(ledger);
    assert_eq!(tail.more().expect("readable").len(), 1);
    assert_eq!(notes(&place.file()), ["one", "two", "three"]);
    append(b"{}\n");
    assert!(matches!(Ledger::open(place.file()), Err(LedgerError::Damaged { line: 4, .. })));
    let text = std::fs::read_to_string(place.file()).expect("readable");
    let without_two: String = text.lines().filter(|line| !line.contains("two")).map(|l| format!("{l}\n")).collect();
    std::fs::write(place.file(), without_two).expect("written");
    assert!(matches!(ledger::read(&place.file()), Err(LedgerError::Damaged { line: 2, .. })));
}
