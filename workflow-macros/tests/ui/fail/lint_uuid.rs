use uuid::Uuid;
use workflow::{Ctx, Result, workflow};

mod uuid {
    pub struct Uuid;
    impl Uuid {
        pub fn new_v4() -> u128 {
            4
        }
        pub fn now_v7() -> u128 {
            7
        }
        pub fn new_v5() -> u128 {
            5
        }
    }
}

#[workflow]
async fn order(_ctx: Ctx) -> Result<String> {
    let _ = Uuid::new_v5();
    let _ = uuid::Uuid::now_v7();
    Ok(format!("{}", Uuid::new_v4()))
}

fn main() {
    let _ = order;
}
