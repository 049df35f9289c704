use workflow::{Ctx, Result, workflow};

#[workflow]
async fn nothing(ctx: Ctx) {
    drop(ctx);
    None::<()>?;
}

#[workflow]
async fn unit(ctx: Ctx) -> () {
    drop(ctx);
}

#[workflow]
async fn tuple(_: Ctx) -> (u32, u32) {
    (1, 2)
}

#[workflow]
async fn number(_: Ctx) -> i32 {
    1
}

#[workflow]
async fn option(_: Ctx) -> Option<i32> {
    None
}

struct NotAnError;

#[workflow]
async fn error(_: Ctx) -> std::result::Result<i32, NotAnError> {
    Err(NotAnError)
}

#[workflow]
async fn boxed(_: Ctx) -> std::result::Result<i32, Box<dyn std::error::Error>> {
    Ok(1)
}

#[workflow]
async fn wrong_type(_: Ctx) -> Result<i32> {
    Ok("one")
}

fn main() {
    let _ = (nothing, unit, tuple, number, option, error, boxed, wrong_type);
}
