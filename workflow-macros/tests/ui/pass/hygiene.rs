//! Shadowed names and a renamed crate don't matter.

#![no_implicit_prelude]
#![deny(warnings)]

extern crate workflow as durable;

mod shop {
    pub mod engine {
        pub use ::workflow::*;
    }
}

#[allow(dead_code)]
mod shadows {
    pub struct Result;
    pub struct Box;
    pub struct Clone;
    pub struct Failure;
    pub struct Workflow;
    pub struct WorkflowFuture;
    pub mod core {}
    pub mod std {}
    pub mod workflow {}
}

#[allow(unused_imports)]
use shadows::*;

#[durable::workflow(crate = "shop::engine")]
async fn renamed(_: durable::Ctx, input: ::std::string::String) -> durable::Result<usize> {
    durable::Result::Ok(input.len())
}

#[durable::workflow(crate = "durable")]
async fn without_input(_: durable::Ctx) -> durable::Result<()> {
    durable::Result::Ok(())
}

#[durable::workflow]
async fn default_path(ctx: durable::Ctx) -> durable::Result<()> {
    without_input(ctx).await
}

fn main() {
    let _ = (renamed, without_input, default_path);
}
