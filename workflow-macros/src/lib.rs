//! The `#[workflow]` attribute.

mod args;
mod check;
mod expand;
mod fallback;
mod lint;
mod model;
mod replay;

use proc_macro::TokenStream;

/// Makes a durable workflow of an `async fn`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workflow::{Ctx, Result, Workflow, workflow};
///
/// #[derive(Serialize, Deserialize)]
/// struct Order {
///     id: u64,
///     amount: u64,
/// }
/// # async fn charge(_: u64) -> std::io::Result<String> { Ok(String::new()) }
///
/// /// Takes the money for an order.
/// #[workflow]
/// async fn order(ctx: Ctx, Order { id, amount }: Order) -> Result<String> {
///     let receipt = ctx.step("charge", || async { Ok(charge(amount).await?) }).await?;
///     Ok(format!("{id}: {receipt}"))
/// }
///
/// assert_eq!(<order as Workflow>::NAME, "order");
/// ```
///
/// # The function
///
/// ```
/// # use workflow::{Ctx, Result, workflow};
/// #[workflow]
/// async fn with_input(ctx: Ctx, input: String) -> Result<usize> {
///     Ok(input.len())
/// }
///
/// // Without an input: `Input` is `()`.
/// #[workflow]
/// async fn tick(ctx: Ctx) -> Result<()> {
///     Ok(())
/// }
///
/// // Any error that converts into `workflow::Failure`: every `std::error::Error` does.
/// #[workflow]
/// async fn other_error(_: Ctx, text: String) -> std::result::Result<i64, std::num::ParseIntError> {
///     text.parse()
/// }
/// ```
///
/// - It is a free `async fn` without generics, lifetimes, `unsafe`, `const` or `extern`.
/// - Its first parameter is the context, by value; the second one, if any, is the input. Either may be a pattern.
/// - Input and output are owned, `Serialize` and `DeserializeOwned`. More than one input: a struct or a tuple.
/// - It returns a `Result`, by whatever alias. Its future needn't be `Send`.
///
/// Everything else is a compile error that says what to write instead.
///
/// # What it becomes
///
/// A unit struct of the function's name, visibility, docs and `#[deprecated]`, which implements `Copy`, `Debug` and
/// `workflow::Workflow`, and names the workflow wherever one is invoked or registered. Other attributes stay on the
/// function behind it. It can still be called: the call is part of the caller, and no child.
///
/// ```
/// # use workflow::{Ctx, Result, workflow};
/// #[workflow]
/// async fn double(_: Ctx, n: u32) -> Result<u32> {
///     Ok(n * 2)
/// }
///
/// #[workflow]
/// async fn caller(ctx: Ctx, n: u32) -> Result<u32> {
///     let as_child = ctx.invoke(double, n).await?;
///     let inline = double(ctx.clone(), n).await?;
///     Ok(as_child + inline)
/// }
/// ```
///
/// As with every unit struct, no variable can have its name where it is in scope:
///
/// ```compile_fail,E0530
/// # use workflow::{Ctx, Result, workflow};
/// #[workflow]
/// async fn order(_: Ctx) -> Result<()> {
///     Ok(())
/// }
///
/// let order = 1;
/// ```
///
/// # Options
///
/// | option | what it is | default |
/// |---|---|---|
/// | `name = "shop/order"` | its name in the store: 1 to 200 characters of `A-Z a-z 0-9 _ . : / -` | the function's name |
/// | `version = 2` | its version, from 1; a run finishes on the version it started with | 1 |
/// | `queue = "fast"` | the queue its runs are put in; a name as above | `default` |
/// | `allow(time, net)` | code that is accepted in the body, see below | nothing |
/// | `crate = "my::workflow"` | the path of the crate `workflow`, where it is re-exported or renamed | `::workflow` |
///
/// ```
/// # use workflow::{Ctx, Result, Workflow, workflow};
/// #[workflow(name = "shop/order", version = 2, queue = "fast")]
/// async fn order_v2(_: Ctx) -> Result<()> {
///     Ok(())
/// }
///
/// assert_eq!((order_v2::NAME, order_v2::VERSION, order_v2::QUEUE), ("shop/order", 2, "fast"));
/// ```
///
/// # What it refuses in the body
///
/// The body is run again on every replay, and has to do the same each time. What would not is refused where it stands:
///
/// | lint | refuses | write |
/// |---|---|---|
/// | `time` | `SystemTime::now`, `Instant::now`, `Utc::now`, `Local::now`, .. | `ctx.now()` |
/// | `sleep` | `tokio::time::sleep`, `timeout`, `interval`, .. | `ctx.sleep(..)`, `.timeout(..)` |
/// | `random` | `rand::random`, `rand::rng`, `thread_rng()`, `OsRng`, `fastrand`, `getrandom` | `ctx.random()` |
/// | `uuid` | `Uuid::new_v4`, `Uuid::now_v7`, .. | `ctx.uuid()` |
/// | `spawn` | `tokio::spawn`, `tokio::task::spawn*`, `JoinSet::new`, `Handle::current` | `join!`, `ctx.invoke(..)` |
/// | `thread` | `std::thread::*` | `ctx.sleep(..)`, `ctx.step(..)` |
/// | `env` | `std::env::*` | `ctx.step(..)`, or the input |
/// | `fs` | `std::fs::*`, `tokio::fs::*`, `File::open`, `OpenOptions::new`, .. | `ctx.step(..)` |
/// | `net` | `TcpStream::connect`, `TcpListener::bind`, `UdpSocket::bind`, `reqwest::get`, .. | `ctx.step(..)` |
/// | `process` | `std::process::*`, `stdin` | `ctx.step(..)` |
/// | `pending` | `std::future::pending` | `ctx.wait_for_event(..)`, `ctx.sleep(..)` |
///
/// ```compile_fail
/// # use workflow::{Ctx, Result, workflow};
/// #[workflow]
/// async fn order(ctx: Ctx) -> Result<()> {
///     // error: `SystemTime::now` gives another value on replay: use `ctx.now()`
///     let now = std::time::SystemTime::now();
///     Ok(())
/// }
/// ```
///
/// The closures of `step`, `step_with` and `transaction`, and of the methods chained to them, run once and may do
/// anything. `allow(..)` is for what can't influence what the workflow does, a log line say:
///
/// ```
/// # use workflow::{Ctx, Result, workflow};
/// #[workflow(allow(time))]
/// async fn order(ctx: Ctx, path: String) -> Result<usize> {
///     println!("driven at {:?}", std::time::SystemTime::now());
///     ctx.step("read", || async { Ok(std::fs::read(&path)?.len()) }).await
/// }
/// ```
///
/// Macros see text: paths are told by their last segments, also inside of other macros. Functions that are called from
/// the body, functions defined in it, and renamed imports are not looked into. What slips through is caught when it
/// runs: by the runtime that isn't there, and by the replay after each commit in debug builds.
#[proc_macro_attribute]
pub fn workflow(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), item.into()).into()
}

/// The whole attribute: parse, check, expand; on an error, expand to whatever is still usable.
fn attribute(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let (args, mut errors) = args::Args::parse(args);
    let mut function = match syn::parse2::<model::Function>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(model::not_a_function(&error));
            return fallback::with_errors(item, &errors);
        }
    };
    let signature = check::signature(&function, &args);
    errors.extend(signature.errors);
    errors.extend(replay::check(&function, &args));
    fallback::mend(&mut function.sig);
    let model = model::Model::new(function, args);
    let code = match signature.use_as {
        check::Use::Workflow => expand::workflow(&model),
        check::Use::Stub => fallback::stub(model),
        check::Use::Handle => fallback::handle(model),
        check::Use::Item => item,
    };
    fallback::with_errors(code, &errors)
}
