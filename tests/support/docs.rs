//! The statements that docs/postgres.md tells administrators to run.

const PAGE: &str = include_str!("../../docs/postgres.md");

/// The blocks of SQL, in order: what the administrator runs, then what the owner of the schema runs.
pub fn blocks() -> [String; 2] {
    let blocks: Vec<String> =
        PAGE.split("```sql\n").skip(1).map(|rest| rest.split("```").next().expect("has an end").to_owned()).collect();
    blocks.try_into().expect("docs/postgres.md has two blocks of SQL")
}
