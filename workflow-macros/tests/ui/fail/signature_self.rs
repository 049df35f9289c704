use workflow::{Ctx, Result, workflow};

struct Shop;

impl Shop {
    #[workflow]
    async fn order(&self, _ctx: Ctx, n: u32) -> Result<u32> {
        Ok(n)
    }
}

fn main() {
    // The method is still there.
    let _ = Shop::order;
}
