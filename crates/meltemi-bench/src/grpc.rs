//! The upstream of gRPC calls: HTTP/2 without TLS, one thread, one fixed message and `grpc-status: 0`
//! to every call. Like the HTTP/1.1 upstream it does as little as possible.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

const WINDOW: u32 = 1 << 20;

/// Serves on 127.0.0.1:`port` until the process is ended; a message of `length` bytes.
pub(crate) fn upstream(port: u16, length: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let message = message(length);
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("port {port}"))?;
        loop {
            let (stream, _) = listener.accept().await.context("accept")?;
            // A client that goes away mid-call is part of every run's end.
            tokio::spawn(serve(stream, message.clone()));
        }
    })
}

/// With gRPC's prefix: not compressed, and how long it is.
fn message(length: u32) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(length);
    message.put_bytes(b'x', length as usize);
    message.freeze()
}

async fn serve(stream: TcpStream, message: Bytes) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request.into_body(), respond, message.clone()));
    }
    Ok(())
}

async fn answer(
    mut request: RecvStream,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> Result<()> {
    while let Some(data) = request.data().await {
        let length = data?.len();
        request.flow_control().release_capacity(length)?;
    }
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .body(())?;
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(message, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(stream.send_trailers(trailers)?)
}
