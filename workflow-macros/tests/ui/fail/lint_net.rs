use std::net::{Ipv4Addr, TcpStream};

use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(_ctx: Ctx) -> Result<()> {
    let here = Ipv4Addr::new(127, 0, 0, 1);
    let _ = TcpStream::connect((here, 80))?;
    let _ = std::net::TcpListener::bind((here, 80))?;
    let _ = std::net::UdpSocket::bind((here, 80))?;
    Ok(())
}

fn main() {
    let _ = order;
}
