//! Every accepted form of the signature, and every option.

use serde::{Deserialize, Serialize};
use workflow::{Ctx, Failure, Result, Workflow, WorkflowFuture, workflow};

#[derive(Serialize, Deserialize)]
pub struct Order {
    id: u64,
    #[allow(dead_code)]
    amount: u64,
}

/// Doc comments stay.
#[workflow]
pub async fn plain(ctx: Ctx, input: u32) -> Result<u32> {
    let _ = ctx;
    Ok(input + 1)
}

#[workflow]
async fn tick(ctx: Ctx) -> Result<()> {
    drop(ctx);
    Ok(())
}

#[workflow]
pub(crate) async fn pattern(mut ctx: Ctx, Order { id, .. }: Order) -> Result<u64, Failure> {
    ctx = ctx.clone();
    let _ = ctx;
    Ok(id)
}

#[workflow]
async fn tuple(_: Ctx, (a, mut b): (String, Vec<u8>)) -> std::result::Result<usize, std::io::Error> {
    b.push(0);
    Ok(a.len() + b.len())
}

#[workflow]
async fn path_of_ctx(_ctx: workflow::Ctx, _: ()) -> workflow::Result<String> {
    Ok(String::new())
}

type Outcome<T> = std::result::Result<T, std::num::ParseIntError>;

#[workflow]
async fn alias(_: Ctx, text: String) -> Outcome<i64>
where
    Order: Serialize,
{
    text.parse()
}

#[workflow]
async fn question_mark(_: Ctx, text: String) -> Result<i64> {
    let n: i64 = text.parse()?;
    let m: f64 = text.parse()?;
    Ok(n + m as i64)
}

#[workflow(name = "shop/order:v2", version = 2, queue = "fast", allow(time, random), crate = "::workflow")]
#[allow(unused_mut, clippy::all)]
async fn options(_: Ctx, mut n: u8) -> Result<u8> {
    let _ = std::time::Instant::now();
    Ok(n)
}

#[workflow]
#[deprecated = "use plain"]
#[cfg(not(any()))]
async fn attributes(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
#[cfg(any())]
async fn absent(_: Ctx) -> Nothing {
    nothing::at_all()
}

#[workflow]
async fn r#loop(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
async fn recursive(ctx: Ctx, n: u32) -> Result<u32> {
    if n == 0 { Ok(0) } else { Ok(recursive(ctx, n - 1).await? + 1) }
}

#[workflow]
async fn calls(ctx: Ctx, n: u32) -> Result<u32> {
    tick(ctx.clone()).await?;
    let (a, b) = tokio::join!(plain(ctx.clone(), n), self::plain(ctx.clone(), n));
    Ok(a? + b?)
}

/// A future that isn't `Send` is fine.
#[workflow]
async fn not_send(ctx: Ctx, n: u32) -> Result<u32> {
    let n = std::rc::Rc::new(n);
    tick(ctx).await?;
    Ok(*n)
}

fn of<W: Workflow>(_: W) -> (&'static str, i32, &'static str, &'static str) {
    (W::NAME, W::VERSION, W::QUEUE, W::PLACE)
}

fn takes(_: impl Fn(Ctx, u32) -> WorkflowFuture<u32>) {}

fn main() {
    let (name, version, queue, place) = of(plain);
    assert_eq!((name, version, queue), ("plain", 1, "default"));
    assert!(place.contains("forms.rs:"), "{place}");
    let (name, version, queue, _) = of(options);
    assert_eq!((name, version, queue), ("shop/order:v2", 2, "fast"));
    assert_eq!(of(r#loop).0, "loop");
    #[allow(deprecated)]
    let (name, ..) = of(attributes);
    assert_eq!(name, "attributes");
    let copies = (plain, plain);
    assert_eq!(format!("{:?}", copies.0), "plain");
    takes(*plain);
    takes(|ctx, n| plain(ctx, n));

    /// In a function's body.
    #[workflow]
    async fn nested(_: Ctx, n: u8) -> Result<u8> {
        Ok(n)
    }
    let _: (&str, _) = (<nested as Workflow>::NAME, of((tuple, path_of_ctx, alias, question_mark).0));
    let _ = (pattern, recursive, calls, not_send);
}
