//! Frames of an HTTP/2 client, by the proxy's codec and by the h2 crate's: a request that ours
//! takes whole is the same in h2. What only ours refuses is where it is stricter on purpose:
//! SETTINGS that do not come first, floods, CONNECT with anything but an authority, a head
//! without a path, heads on closed streams.
//!
//! Inputs are what follows the preface and empty SETTINGS.
#![no_main]

use bytes::Bytes;
use h2::RecvStream;
use libfuzzer_sys::fuzz_target;
use meltemi_proxy::http::Http2Settings;
use meltemi_proxy::http::replay::{Whole, requests};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local, yield_now};

/// Bounds, in both.
const STREAMS: u32 = 100;
const WINDOW: u32 = 1 << 20;
const HEADER_LIST: u32 = 16 * 1024;
/// After so many turns h2's tasks have done all they can: nothing waits for a socket.
const TURNS: u32 = 50;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|input: &[u8]| {
    let own = Http2Settings {
        max_streams: Some(STREAMS),
        stream_window: WINDOW,
        connection_window: WINDOW,
        max_header_list: HEADER_LIST,
        extended_connect: false,
    };
    let Ok(ours) = requests(input, own) else {
        return;
    };
    let (theirs, ended) = RUNTIME.with(|runtime| LocalSet::new().block_on(runtime, by_h2(input)));
    for request in &ours {
        let same = theirs.iter().find(|other| other.stream == request.stream);
        // h2 ends the connection where we end a stream: for a name or a value that no field
        // may have.
        if same.is_some() || !ended {
            assert_eq!(Some(request), same, "h2 has {theirs:?}");
        }
    }
});

/// And whether h2 ended the connection.
async fn by_h2(input: &[u8]) -> (Vec<Whole>, bool) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(input);
    client.write_all(&bytes).await.expect("room");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let task = spawn_local(serve(server, seen.clone()));
    for _ in 0..TURNS {
        yield_now().await;
    }
    let ended = task.is_finished();
    task.abort();
    (seen.take(), ended)
}

async fn serve(stream: DuplexStream, seen: Rc<RefCell<Vec<Whole>>>) {
    let connection = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADER_LIST)
        .handshake::<_, Bytes>(stream)
        .await;
    let Ok(mut connection) = connection else {
        return;
    };
    let mut answers = Vec::new();
    while let Some(Ok((request, answer))) = connection.accept().await {
        answers.push(answer);
        spawn_local(read(request, seen.clone()));
    }
}

async fn read(request: http::Request<RecvStream>, seen: Rc<RefCell<Vec<Whole>>>) {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let Ok(data) = data else {
            return;
        };
        body.extend_from_slice(&data);
    }
    let Ok(trailers) = stream.trailers().await else {
        return;
    };
    seen.borrow_mut().push(Whole {
        stream: stream.stream_id().as_u32(),
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body,
        trailers: trailers.filter(|trailers| !trailers.is_empty()),
    });
}
