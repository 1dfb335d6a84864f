//! What is done to the admin port.

use super::*;

pub(super) async fn admin_slow(target: Target) -> io::Result<()> {
    let mut stream = TcpStream::connect(target.admin).await?;
    drip(
        &mut stream,
        &b"GET /metrics HTTP/1.1\r\nHost: registrar\r\n".repeat(9),
    )
    .await
}

pub(super) async fn admin_giant_headers(target: Target) -> io::Result<()> {
    let stream = TcpStream::connect(target.admin).await?;
    again_and_again(stream, 1_000, |n| match n {
        0 => b"GET /readyz HTTP/1.1\r\n".to_vec(),
        _ => format!("x-{n}: {}\r\n", "x".repeat(1_000)).into_bytes(),
    })
    .await
}

/// Asks again and again and takes no answer.
pub(super) async fn admin_unread(target: Target) -> io::Result<()> {
    let mut stream = TcpStream::connect(target.admin).await?;
    for _ in 0..2_000 {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: registrar\r\n\r\n")
            .await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
