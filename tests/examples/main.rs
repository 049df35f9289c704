//! The examples as their readers run them: as programs, on every store, with what they print.

mod manifest;
mod program;
mod small;
mod tree;
