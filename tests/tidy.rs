//! The rules of the house that no lint can hold. An exception names its reason, and goes when it is no longer needed.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a rule doesn't hold: rule, file, reason. This list may only shrink; an entry that isn't needed fails its rule.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Statements that aren't a file of `queries/` word for word: file, what is run, and what is put into it. The driver takes
/// no other text at run time without `AssertSqlSafe`, so this list is where text of a user could get into a statement: an
/// entry says why none does.
const PUT_TOGETHER: &[(&str, &str, &str)] = &[
    ("workflow-pg/src/migrate.rs", "AssertSqlSafe(step.sql)", "nothing: a migration"),
    ("workflow-pg/src/pooler.rs", "AssertSqlSafe(mark)", "a UUID of ours"),
    (
        "workflow-pg/src/seeded.rs",
        "Box::leak(spoilt.into_boxed_str())",
        "nothing: spoilt on purpose, in builds made for it",
    ),
    ("workflow-pg/src/pool.rs", "AssertSqlSafe(begin)", "numbers: time limits"),
    ("workflow-sqlite/src/sql.rs", "AssertSqlSafe(Arc::clone(sql))", "placeholders, as many as rows"),
];

/// Longest file under `src`. The house aims at 50 to 250.
const LINES: usize = 500;

#[test]
fn rust_file_begins_with_its_line() {
    check("header", rust(|_| true).filter(|file| !file.text.starts_with("//! ")).map(|file| file.at(1)));
}

#[test]
fn doc_example_runs() {
    let fence = |line: &str| {
        let line = line.trim_start().trim_start_matches("///").trim_start_matches("//!").trim_start();
        line.strip_prefix("```").is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == "ignore"))
    };
    let docs = files().into_iter().filter(|file| file.is("rs") || file.is("md"));
    check("doc example", docs.flat_map(|file| file.lines_where(fence)));
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file isn't found.
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    let skipped = ["#[", "ignore"].concat();
    let left = |line: &str| {
        let comment = line.trim_start().starts_with("//");
        !comment && (line.contains(&skipped) || words.iter().any(|word| line.contains(word.as_str())))
    };
    check("left for later", rust(|_| true).flat_map(|file| file.lines_where(left)));
}

#[test]
fn source_file_is_short() {
    let long = rust(in_src).filter(|file| file.text.lines().count() > LINES);
    check("length", long.map(|file| format!("{}: {} lines", file.path, file.text.lines().count())));
}

#[test]
fn sql_stands_in_queries_and_migrations() {
    let sql = |line: &str| {
        let verbs = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE "];
        let code = line.trim_start();
        !code.starts_with("//") && code.contains('"') && verbs.iter().any(|verb| code.contains(verb))
    };
    // The test server makes databases, a benchmark measures statements of its own, and chaos looks at the tables from
    // outside; none is part of a store.
    let apart = ["workflow-testserver/", "benches/", "chaos/"];
    let sources = rust(|path| in_src(path) && !apart.iter().any(|folder| path.starts_with(folder)));
    check("sql", sources.flat_map(|file| File { text: without_tests(&file.text), ..file }.lines_where(sql)));
}

#[test]
fn no_text_of_a_user_reaches_a_statement() {
    let mut seen = Vec::new();
    let mut offences = Vec::new();
    // The test server makes databases, and nobody else's text is near the programs that measure and break things.
    let stores = |path: &str| path.starts_with("src/") || (path.starts_with("workflow-") && in_src(path));
    for file in rust(|path| stores(path) && !path.starts_with("workflow-testserver/")) {
        let file = File { text: without_tests(&file.text), ..file };
        // Text that lives for ever counts as written down.
        let leaks = |line: &str| line.contains("leak(") && !line.contains("conn.leak(");
        for line in file.lines_where(|line| line.contains("AssertSqlSafe(") || leaks(line)) {
            match PUT_TOGETHER.iter().position(|(path, text, _)| *path == file.path && line.contains(text)) {
                Some(index) => seen.push(index),
                None => offences.push(line),
            }
        }
    }
    check("text in statements", offences);
    for (index, (path, text, _)) in PUT_TOGETHER.iter().enumerate() {
        assert!(seen.contains(&index), "{path} has no {text} any more: remove it from the list");
    }
}

#[test]
fn bad_input_names_tests_that_exist() {
    let page = read("docs/bad-input.md");
    let named: Vec<(&str, &str)> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    let named: Vec<_> = named.into_iter().filter(|(_, test)| test.contains('_')).collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let sources: Vec<File> = rust(|path| path.contains("tests/") || in_src(path)).collect();
    let exists = |(module, test): &(&str, &str)| {
        let file = format!("/{module}.rs");
        let declared = format!("fn {test}(");
        sources.iter().any(|source| source.path.ends_with(&file) && source.text.contains(&declared))
    };
    let missing = named.into_iter().filter(|name| !exists(name));
    check("bad input", missing.map(|(module, test)| format!("docs/bad-input.md: there is no {module}::{test}")));
}

#[test]
fn sql_file_says_what_it_does() {
    let silent = sql_files().filter(|file| !file.text.starts_with("--"));
    check("sql header", silent.map(|file| file.at(1)));
}

#[test]
fn query_names_its_columns() {
    let star = |line: &str| !line.trim_start().starts_with("--") && line.contains("SELECT *");
    check("columns", sql_files().flat_map(|file| file.lines_where(star)));
}

#[test]
fn core_has_no_runtime_and_no_database() {
    let manifest = read("workflow-core/Cargo.toml");
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).expect("core has dependencies");
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
    let heavy = |name: &String| ["tokio", "sqlx", "rusqlite", "hyper", "async-std", "smol"].contains(&name.as_str());
    check("core", dependencies.lines().map(name).filter(heavy).map(|name| format!("workflow-core depends on {name}")));
}

#[test]
fn guarantees_name_tests_that_exist() {
    let page = read("docs/guarantees.md");
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2).collect();
    assert!(named.len() > 30, "the page names its tests");
    let sources: String = rust(|_| true).map(|file| file.text).collect();
    let missing = named.into_iter().filter(|name| !sources.contains(&format!("fn {name}(")));
    check("named test", missing.map(|name| format!("docs/guarantees.md: there is no test {name}")));
}

#[test]
fn rules_look_at_every_crate() {
    for file in ["src/lib.rs", "workflow-core/src/lib.rs", "workflow-pg/src/lib.rs", "tests/tidy.rs"] {
        assert!(rust(|path| path == file).next().is_some(), "{file} isn't looked at");
    }
    assert!(sql_files().any(|file| file.path.starts_with("workflow-pg/")), "no query is looked at");
}

struct File {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|this| this == extension)
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    fn lines_where(&self, wrong: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| wrong(line));
        lines.map(|(index, line)| format!("{}: {}", self.at(index + 1), line.trim())).collect()
    }
}

fn check(rule: &str, offences: impl IntoIterator<Item = String>) {
    let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|(of, ..)| *of == rule).map(|(_, path, _)| *path).collect();
    let exception_for = |offence: &str| {
        exceptions.iter().position(|path| offence.strip_prefix(path).is_some_and(|r| r.starts_with(':')))
    };
    let (excused, offences): (Vec<_>, Vec<_>) = offences.into_iter().partition(|o| exception_for(o).is_some());
    assert!(offences.is_empty(), "against the rule \"{rule}\":\n{}", offences.join("\n"));
    let used: Vec<_> = excused.iter().filter_map(|offence| exception_for(offence)).collect();
    for (index, path) in exceptions.iter().enumerate() {
        assert!(used.contains(&index), "{path} keeps the rule \"{rule}\" now: remove its exception");
    }
}

fn rust(wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = File> {
    // What the macro's tests feed to the compiler is no source of ours.
    let ours = |file: &File| file.is("rs") && !file.path.contains("tests/ui/");
    files().into_iter().filter(move |file| ours(file) && wanted(&file.path))
}

fn sql_files() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.is("sql"))
}

fn in_src(path: &str) -> bool {
    path.starts_with("src/") || path.split('/').nth(1) == Some("src")
}

/// The text up to its unit tests.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// All files that rules are about, but for what is built or hidden.
fn files() -> Vec<File> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(root().join(&directory)).expect("the source tree is readable");
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = directory.join(&name);
            if entry.path().is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    directories.push(path);
                }
            } else if ["rs", "sql", "md"].iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                let path = path.to_str().expect("file names are text").replace('\\', "/");
                found.push(File { text: read(&path), path });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
