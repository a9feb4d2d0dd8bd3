//! What connections cost a proxy: new ones with mutual TLS, as fast as they can be made, and
//! many that are idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConfig;

use crate::{http1, tls};

/// Bounds of a run, so that a slip of the keyboard cannot flood a machine.
const MAX_CLIENTS: u64 = 64;
const MAX_SECONDS: u64 = 60;
const MAX_IDLE: usize = 20_000;

#[derive(clap::Args)]
pub(crate) struct Handshakes {
    #[arg(long)]
    port: u16,
    /// Directory with ca.pem, leaf.pem and leaf.key.
    #[arg(long)]
    certificates: PathBuf,
    /// Connections that are under way at a time.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

#[derive(clap::Args)]
pub(crate) struct Idle {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    connections: usize,
    /// Directory with ca.pem, leaf.pem and leaf.key: mutual TLS. Without it, plaintext.
    #[arg(long)]
    certificates: Option<PathBuf>,
}

/// Connects, makes a full handshake and one request, and closes, again and again; prints how
/// often. The request is what tells that the server has finished its handshake, too.
///
/// # Errors
/// A connection, handshake or request that fails.
pub(crate) fn handshakes(options: &Handshakes) -> Result<()> {
    ensure!(
        (1..=MAX_CLIENTS).contains(&options.clients),
        "clients: 1 to {MAX_CLIENTS}"
    );
    ensure!(
        (1..=MAX_SECONDS).contains(&options.seconds),
        "seconds: 1 to {MAX_SECONDS}"
    );
    let config = tls::client(&options.certificates)?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let client = || -> Result<u64> {
        let mut made = 0;
        while Instant::now() < end {
            reset(open(options.port, Some(&config))?)?;
            made += 1;
        }
        Ok(made)
    };
    let made = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..options.clients).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|thread| thread.join().expect("a client does not panic"))
            .sum::<Result<u64>>()
    })?;
    println!("{}", serde_json::json!({"requests": made, "failed": 0}));
    Ok(())
}

/// Opens connections that make a request each, prints how many are open, holds them until
/// standard input ends, and prints how many of them the proxy has left open.
///
/// # Errors
/// A connection, handshake or request that fails.
pub(crate) fn idle(options: &Idle) -> Result<()> {
    ensure!(
        (1..=MAX_IDLE).contains(&options.connections),
        "connections: 1 to {MAX_IDLE}"
    );
    let config = options.certificates.as_deref().map(tls::client);
    let config = config.transpose()?;
    let mut sockets = (0..options.connections)
        .map(|_| open(options.port, config.as_ref()))
        .collect::<Result<Vec<_>>>()?;
    say("open", sockets.len())?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    let mut left = 0;
    for socket in &mut sockets {
        left += usize::from(is_open(socket)?);
    }
    say("open", left)
}

fn say(what: &str, count: usize) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::json!({what: count}))?;
    Ok(out.flush()?)
}

/// A connection that has been good for a request.
fn open(port: u16, config: Option<&Arc<ClientConfig>>) -> Result<TcpStream> {
    let mut socket = http1::connect(port)?;
    let request = http1::request(port);
    let mut buffer = [0; 8 << 10];
    let status = match config {
        None => http1::exchange(&mut socket, &request, &mut buffer)?,
        Some(config) => {
            let mut session = tls::session(config)?;
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            http1::exchange(&mut stream, &request, &mut buffer)?
        }
    };
    ensure!(status == 200, "answered with {status}");
    Ok(socket)
}

/// Closes with a reset, which leaves no port waiting: a run makes more connections than there
/// are ports.
fn reset(socket: TcpStream) -> Result<()> {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&socket, sockopt::Linger, &at_once).context("SO_LINGER")
}

/// Whether the other end has left the connection open; what it sent meanwhile (session
/// tickets) does not matter.
fn is_open(socket: &mut TcpStream) -> Result<bool> {
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 8 << 10];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Ok(error.kind() == std::io::ErrorKind::WouldBlock),
        }
    }
}
