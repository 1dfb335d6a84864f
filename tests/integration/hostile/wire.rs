//! HTTP/2 spoken by hand, well or badly.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const NONE: u8 = 0;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The largest payload that a server takes unless it says otherwise.
pub(super) const LARGEST: usize = 16_384;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A setting of HTTP/2: SETTINGS_INITIAL_WINDOW_SIZE.
pub(super) fn window_of(bytes: u32) -> Vec<u8> {
    [&[0, 4][..], &bytes.to_be_bytes()].concat()
}

/// The headers of a call, and others.
pub(super) fn call(path: &str, others: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "registrar"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .chain(others)
    {
        // A literal that is not to be indexed, and two texts with their lengths.
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn length(of: usize, block: &mut Vec<u8>) {
    if of < 127 {
        return block.push(of as u8);
    }
    block.push(127);
    let mut rest = of - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A message of gRPC, its length before it.
pub(super) fn message(message: &impl prost::Message) -> Vec<u8> {
    let packed = message.encode_to_vec();
    let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &packed].concat()
}

/// A connection that has begun well.
pub(super) async fn begun(address: &str, settings: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(PREFACE).await?;
    stream
        .write_all(&frame(SETTINGS, NONE, 0, settings))
        .await?;
    Ok(stream)
}

/// Reads whatever comes, until nothing more does.
pub(super) async fn to_the_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut heard = [0; LARGEST];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

/// Reads whatever comes, until nothing more does, and answers what must be answered so as to stay:
/// pings and settings.
pub(super) async fn politely(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = [0; 9];
    loop {
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match (head[3], head[4] & ACK) {
            (PING, 0) => stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            _ => {}
        }
    }
}
