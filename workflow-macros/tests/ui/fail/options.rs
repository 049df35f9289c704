use workflow::{Ctx, Result, Workflow, workflow};

#[workflow(name = "two words")]
async fn spaces(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(name = "")]
async fn empty(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(name = order)]
async fn not_text(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(queue = "fast lane", name = "kept")]
async fn queue(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(version = "2")]
async fn version_text(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(version = 0)]
async fn version_zero(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(retries = 3)]
async fn unknown(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow("order")]
async fn literal(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(version = 1, version = 2)]
async fn twice(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(allow)]
async fn allow_nothing(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(allow())]
async fn allow_empty(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow(allow(time, rand, everything))]
async fn allow_unknown(_: Ctx) -> Result<()> {
    std::time::Instant::now();
    Ok(())
}

#[workflow(crate = "no path")]
async fn no_path(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
async fn größe(_: Ctx) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = (spaces, empty, not_text, version_text, version_zero, unknown, literal, twice);
    let _ = (allow_nothing, allow_empty, allow_unknown, no_path, größe);
    const _: () = assert!(<queue as Workflow>::NAME.len() == 4);
}
