//! Bytes over TCP, a fixed number in one direction of one connection. A connection begins with
//! nine bytes: the direction (`u`, to the upstream; `d`, from it) and how many bytes, big-endian.
//! The upstream closes an upload with one byte once it has all of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::http1;

const CHUNK: usize = 256 << 10;
const MAX_BYTES: u64 = 64 << 30;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    direction: Direction,
    #[arg(long)]
    bytes: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Direction {
    Up,
    Down,
}

/// Serves on 127.0.0.1:`port` until the process is ended.
pub(crate) fn upstream(port: u16) -> Result<()> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
    for stream in listener.incoming() {
        let stream = stream.context("accept")?;
        // Who goes away before it has told what it wants came to see whether somebody listens.
        std::thread::spawn(|| serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let (direction, length) = head.split_at(1);
    let bytes = u64::from_be_bytes(length.try_into()?);
    if direction == b"d" {
        return send(&mut stream, bytes);
    }
    receive(&mut stream, bytes)?;
    Ok(stream.write_all(b".")?)
}

/// # Errors
/// A connection that cannot be made, breaks, or stands still for `http1::TIMEOUT`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.bytes <= MAX_BYTES, "bytes: up to {MAX_BYTES}");
    let mut stream = http1::connect(options.port)?;
    let direction = match options.direction {
        Direction::Up => b"u",
        Direction::Down => b"d",
    };
    stream.write_all(&[direction, &options.bytes.to_be_bytes()[..]].concat())?;
    match options.direction {
        Direction::Down => receive(&mut stream, options.bytes)?,
        Direction::Up => {
            send(&mut stream, options.bytes)?;
            stream.read_exact(&mut [0])?;
        }
    }
    println!("{}", serde_json::json!({"bytes": options.bytes}));
    Ok(())
}

fn send(stream: &mut TcpStream, mut bytes: u64) -> Result<()> {
    let chunk = vec![b'x'; CHUNK];
    while bytes > 0 {
        let now = bytes.min(CHUNK as u64);
        stream.write_all(&chunk[..now as usize]).context("send")?;
        bytes -= now;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut received = 0;
    while received < bytes {
        let n = stream.read(&mut chunk).context("receive")?;
        ensure!(n > 0, "closed after {received} of {bytes} bytes");
        received += n as u64;
    }
    Ok(())
}
