//! `manifest` against `sha256sum`: odd trees, kills, several processes, what can't be read.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use crate::program::program;
use crate::tree::{Tree, assert_same, copied, eventually, journaled, steps};

fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that file systems allow.
fn odd_tree() -> Tree {
    let tree = Tree::new();
    let names: [&[u8]; 20] = [
        b"plain",
        b" ",
        b"-n",
        b"--help",
        b"a\nb",
        b"a\rb",
        b"a\\b",
        b"\\",
        b"a\tb",
        b"\xff\xfe",
        b"\xc3\xa4",
        b"'",
        b"\"",
        b"*",
        b"$(x)",
        b"\x01\x7f",
        b"a.b",
        b"a-b",
        b"a!",
        b"...",
    ];
    for (number, name) in names.iter().enumerate() {
        tree.file(name, format!("{number}"));
        tree.file([*name, b".d/", name].concat(), [*name, b"\n"].concat());
    }
    tree.file("a/b/c", "deeper");
    tree.file(b"a\\d/new\nline/\xf0\x28/x", "odd all the way");
    tree.file(vec![b'l'; 255], "long");
    tree.file(vec![1; 255], "long in a journal");
    tree.file("empty", "");
    tree.file("large", vec![42; 300_000]);
    let root = tree.root();
    fs::create_dir_all(root.join("no/files/here")).expect("creates directories");
    for (target, link) in [("plain", "to-file"), ("a", "to-directory"), ("..", "loop"), ("nowhere", "to-nothing")] {
        symlink(target, root.join(link)).expect("links");
    }
    fs::hard_link(root.join("large"), root.join("large-too")).expect("links");
    let fifo = Command::new("mkfifo").arg(root.join("fifo")).status().expect("mkfifo runs");
    assert!(fifo.success());
    drop(UnixListener::bind(root.join("socket")).expect("binds"));
    tree
}

#[test]
fn an_odd_tree_is_as_sha256sum_has_it() {
    let tree = odd_tree();
    let output = tree.manifest(&[]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &tree.reference(), "standard output");
    let file = tree.beside("out");
    let output = tree.manifest(&["--batch", "3", "--out", file.to_str().expect("text")]);
    assert_code(&output, 0);
    assert!(output.stdout.is_empty());
    assert_same(&fs::read(file).expect("it is written"), &tree.reference(), "a file, split into small parts");
}

#[tokio::test]
async fn an_odd_tree_goes_through_postgres() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let tree = odd_tree();
    let output = tree.manifest(&["--store", database.url()]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &tree.reference(), "standard output");
}

#[test]
fn an_empty_tree_is_an_empty_manifest() {
    let tree = Tree::new();
    let output = tree.manifest(&[]);
    assert_code(&output, 0);
    assert!(output.stdout.is_empty());
    assert_eq!(steps(&output), (1, 0));
}

#[test]
fn a_wide_directory_is_split_and_its_parts_again() {
    let tree = Tree::new();
    for number in 0..1_100 {
        tree.file(format!("{number}"), format!("{number}"));
    }
    let output = tree.manifest(&["--batch", "2"]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &tree.reference(), "1,100 files, 2 at a time");
}

#[test]
fn a_deep_tree_has_no_limit() {
    let tree = Tree::new();
    // As many as a path can have.
    let deep = "d/".repeat(1_000);
    tree.file(format!("{deep}bottom"), "found");
    tree.file(format!("{}halfway", &deep[..1_000]), "found, too");
    let output = tree.manifest(&[]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &tree.reference(), "1,000 levels");
}

#[test]
fn a_finished_manifest_is_made_again() {
    let tree = Tree::new();
    tree.file("a", "1");
    let first = tree.manifest(&[]);
    tree.file("a", "2");
    tree.file("b", "3");
    let second = tree.manifest(&[]);
    assert_eq!((steps(&first), steps(&second)), ((2, 0), (3, 0)));
    assert_same(&second.stdout, &tree.reference(), "the second");
}

#[tokio::test]
async fn killed_again_and_again_it_goes_on() {
    let mut tree = Tree::new();
    tree.forest(40, 2_000, 20_000);
    let total = 2_000 + fs_directories(&tree);
    let expected = tree.reference();
    let mut before = 0;
    for kill in 1..=10 {
        let mut manifest = tree.begin(&["--jobs", "1"]);
        let store = tree.store().await;
        let more = before + 1 + tree.random() as usize % 60;
        let progress = async || {
            let now = journaled(&store).await;
            (now >= more || manifest.has_ended()).then_some(now)
        };
        let now = eventually("progress", progress).await;
        manifest.kill();
        // Nothing that was seen is lost.
        before = journaled(&store).await;
        assert!(before >= now, "{before} steps are journaled after a kill, {now} were before");
        if before + 60 > total {
            // A slow machine sees it late. The next kill might come after the end.
            assert!(kill >= 3, "{before} of {total} steps after {kill} kills: the tree is too small");
            break;
        }
    }
    let output = tree.manifest(&[]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &expected, "after the kills");
    assert_eq!(steps(&output), (total - before, before), "what is journaled is not run again");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.starts_with("resuming the manifest of ") && told.contains(&format!(": {before} steps are in")),
        "{told}"
    );
}

#[test]
fn killed_while_it_writes_it_writes_again_and_reads_nothing() {
    let tree = Tree::new();
    for number in 0..2_000 {
        tree.file(format!("{number}"), format!("{number}"));
    }
    // More than a pipe holds that nobody reads.
    let mut manifest = tree.command(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut begun = [0];
    manifest.stdout.as_mut().expect("is piped").read_exact(&mut begun).expect("it writes");
    manifest.kill().expect("it can be killed");
    manifest.wait().expect("it can be waited for");
    let output = tree.manifest(&[]);
    assert_code(&output, 0);
    assert_same(&output.stdout, &tree.reference(), "the second time");
    let (now, before) = steps(&output);
    assert!(now == 0 && before > 2_000, "{now} steps were run again, {before} were in the journal");
    assert!(steps(&tree.manifest(&[])).0 > 2_000, "one that was written is made anew");
}

/// Directories in the tree, the root counted.
fn fs_directories(tree: &Tree) -> usize {
    let found = Command::new("find").arg(tree.root()).args(["-type", "d"]).output().expect("find runs");
    found.stdout.iter().filter(|byte| **byte == b'\n').count()
}

#[tokio::test]
async fn what_vanishes_is_told_and_stops_nothing() {
    let mut tree = Tree::new();
    tree.forest(1, 1_000, 20_000);
    let expected = tree.reference();
    let manifest = tree.begin(&["--jobs", "1"]);
    let store = tree.store().await;
    eventually("a few digests", async || (journaled(&store).await > 40).then_some(())).await;
    manifest.kill();
    let before = journaled(&store).await - 4;
    assert!(before < 1_000, "killed too late to vanish anything");
    fs::remove_dir_all(tree.root().join("a/b/0")).expect("removes the files");
    let output = tree.manifest(&[]);
    assert_code(&output, 2);
    let lines = output.stdout.split_inclusive(|byte| *byte == b'\n');
    let mut references = expected.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(lines.clone().count(), before);
    assert!(lines.clone().all(|line| references.any(|reference| reference == line)));
    let told = String::from_utf8_lossy(&output.stderr);
    let missing =
        told.lines().filter(|l| l.starts_with("manifest: a/b/0/") && l.ends_with(": No such file or directory"));
    assert_eq!(missing.count(), 1_000 - before);
}

#[test]
fn what_cannot_be_read_is_told_and_stops_nothing() {
    let tree = Tree::new();
    for path in ["readable", "closed-file", "closed/a", "open/b"] {
        tree.file(path, path);
    }
    let expected = tree.reference();
    for path in ["closed-file", "closed"] {
        fs::set_permissions(tree.root().join(path), fs::Permissions::from_mode(0o000)).expect("closes");
    }
    let (copy, state) = (tree.beside("manifest"), tree.beside("state"));
    fs::create_dir(&state).expect("creates a directory");
    let mut command = Command::new(copied(&program("manifest"), &copy));
    command.arg(tree.root()).env("XDG_STATE_HOME", &state);
    let is_root = fs::read(tree.root().join("closed-file")).is_ok();
    if is_root {
        // Root may read everything: let nobody try.
        chown(&state, Some(65_534), Some(65_534)).expect("root may give it away");
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().expect("it starts");
    fs::set_permissions(tree.root().join("closed"), fs::Permissions::from_mode(0o755)).expect("opens");
    assert_code(&output, 2);
    let readable =
        expected.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.windows(6).any(|w| w == b"closed"));
    assert_same(&output.stdout, &readable.flatten().copied().collect::<Vec<u8>>(), "what is readable");
    let told = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = told.lines().take(2).collect();
    assert_eq!(lines, ["manifest: closed: Permission denied", "manifest: closed-file: Permission denied"]);
}

#[tokio::test]
async fn several_processes_share_the_work_and_survive_one() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let mut tree = Tree::new();
    tree.forest(120, 900, 40_000);
    let expected = tree.reference();
    let total = 900 + fs_directories(&tree);
    let arguments = ["--jobs", "1", "--store", database.url()];
    let store = workflow::postgres::PgStore::connect(database.url()).await.expect("connects");
    let mut processes: Vec<_> = (0..3).map(|_| tree.begin(&arguments)).collect();
    eventually("a third of the steps", async || (journaled(&store).await > total / 3).then_some(())).await;
    processes.remove(0).kill();
    let outputs: Vec<_> = processes.into_iter().map(|process| process.end()).collect();
    for output in outputs {
        assert_code(&output, 0);
        assert_same(&output.stdout, &expected, "a survivor");
        let (now, before) = steps(&output);
        assert_eq!(now + before, total);
    }
}

#[test]
fn a_mistake_is_one_clear_line() {
    let tree = Tree::new();
    tree.file("file", "");
    let run = |arguments: &[&str]| {
        let output = Command::new(program("manifest")).args(arguments).current_dir(tree.root()).output();
        let output = output.expect("it starts");
        assert_code(&output, 1);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(run(&["missing"]), "manifest: missing: No such file or directory (os error 2)\n");
    assert_eq!(run(&["file"]), "manifest: file: not a directory\n");
    assert_eq!(run(&[]), "manifest: one directory is needed, 0 were given: see --help\n");
    assert_eq!(run(&[".", "-o", "no/file"]), "manifest: no/file: there is no such directory\n");
    assert_eq!(run(&[".", "--speed"]), "manifest: unknown option --speed: see --help\n");
    assert_eq!(run(&[".", "--jobs=no"]), "manifest: --jobs \"no\" is no number from 1 to 10000\n");
    for store in
        ["mysql://host/x", "sqlite:/no/such/directory/x.db", "sqlite:file/x.db", "postgres://nobody@127.0.0.1:1/x"]
    {
        let told = run(&[".", "--store", store]);
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
