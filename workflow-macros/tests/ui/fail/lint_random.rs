use rand::{random, thread_rng};
use workflow::{Ctx, Result, workflow};

mod rand {
    pub fn random() -> u8 {
        4
    }
    pub fn thread_rng() -> u8 {
        4
    }
    pub fn rng() -> u8 {
        4
    }
}

#[workflow]
async fn order(_ctx: Ctx) -> Result<u8> {
    let sum = rand::random() + rand::rng() + random() + thread_rng();
    Ok(vec![sum, self::rand::random(), rand::thread_rng()].into_iter().sum())
}

fn main() {
    let _ = order;
}
