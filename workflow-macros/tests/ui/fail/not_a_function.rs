use workflow::workflow;

#[workflow]
#[derive(Debug)]
struct Order {
    id: u64,
}

trait Shop {
    #[workflow]
    async fn order();
}

#[workflow]
impl Order {}

fn main() {
    println!("{:?}", Order { id: 1 });
}
