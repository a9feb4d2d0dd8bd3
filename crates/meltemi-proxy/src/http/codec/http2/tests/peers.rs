//! Bodies through a proxy between a client and a server of the `h2` crate: any sizes and
//! windows, streams that are reset on the way.

use crate::http::testkit::*;
use crate::model::UpstreamProtocol;
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use proptest::prelude::{ProptestConfig, Strategy, prop, prop_oneof, proptest};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
struct Windows {
    stream: u32,
    connection: u32,
    frame: u32,
}

fn windows() -> impl Strategy<Value = Windows> {
    (2000u32..200_000, 65_535u32..300_000, 16_384u32..70_000).prop_map(
        |(stream, connection, frame)| Windows {
            stream,
            connection,
            frame,
        },
    )
}

#[derive(Clone, Debug)]
struct Call {
    /// Sizes of the pieces that are sent.
    pieces: Vec<usize>,
    /// The request is reset behind so many pieces.
    reset: Option<usize>,
    trailers: bool,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let piece = prop_oneof![
        0usize..3,
        0usize..3000,
        16_000usize..17_000,
        60_000usize..140_000
    ];
    let call = (
        prop::collection::vec(piece, 0..6),
        prop::option::weighted(0.2, 0usize..3),
        prop::bool::ANY,
    );
    let call = call.prop_map(|(pieces, reset, trailers)| Call {
        pieces,
        reset,
        trailers,
    });
    prop::collection::vec(call, 1..12)
}

/// Sends back what it gets, as it comes.
async fn echo(windows: Windows, streams: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut connection = h2::server::Builder::new()
                .initial_window_size(windows.stream)
                .initial_connection_window_size(windows.connection)
                .max_frame_size(windows.frame)
                .max_concurrent_streams(streams)
                .handshake::<_, Bytes>(socket)
                .await
                .unwrap();
            tokio::task::spawn_local(async move {
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    let mut body = request.into_body();
                    let end = body.is_end_stream();
                    let mut send = answer.send_response(Response::new(()), end).unwrap();
                    tokio::task::spawn_local(async move {
                        if !end {
                            // A request that was reset has nothing to be sent back.
                            let _ = pass_on(&mut body, &mut send).await;
                        }
                    });
                }
            });
        }
    });
    address
}

async fn pass_on(body: &mut RecvStream, send: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        send_all(send, data).await?;
    }
    match body.trailers().await? {
        Some(trailers) => send.send_trailers(trailers),
        None => send.send_data(Bytes::new(), true),
    }
}

async fn send_all(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(capacity) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else {
            return Err(Reason::CANCEL.into());
        };
        let capacity = capacity?.min(data.len());
        send.send_data(data.split_to(capacity), false)?;
    }
    Ok(())
}

fn bytes_of(call: usize, piece: usize, size: usize) -> Bytes {
    let seed = call * 31 + piece * 7;
    (0..size).map(|n| ((n + seed) % 251) as u8).collect()
}

async fn run_call(mut sender: h2::client::SendRequest<Bytes>, number: usize, call: Call) {
    std::future::poll_fn(|cx| sender.poll_ready(cx))
        .await
        .unwrap();
    let request = Request::post(format!("http://a/{number}"))
        .body(())
        .unwrap();
    let (answer, mut send) = sender.send_request(request, false).unwrap();
    let sending = async {
        for (index, size) in call.pieces.iter().enumerate() {
            if call.reset == Some(index) {
                return send.send_reset(Reason::CANCEL);
            }
            send_all(&mut send, bytes_of(number, index, *size))
                .await
                .unwrap();
        }
        if call.trailers {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-number", number.into());
            send.send_trailers(trailers).unwrap();
        } else {
            send.send_data(Bytes::new(), true).unwrap();
        }
    };
    let is_reset = call.reset.is_some_and(|at| at < call.pieces.len());
    let reading = async {
        let mut body = match answer.await {
            Ok(answer) => answer.into_body(),
            Err(_) if is_reset => return,
            Err(error) => panic!("no answer: {error}"),
        };
        let mut whole = BytesMut::new();
        while let Some(data) = body.data().await {
            let Ok(data) = data else {
                assert!(is_reset, "the answer broke off");
                return;
            };
            body.flow_control().release_capacity(data.len()).unwrap();
            whole.extend_from_slice(&data);
        }
        if is_reset {
            return;
        }
        let sent = call.pieces.iter().enumerate();
        let sent: Vec<u8> = sent
            .flat_map(|(index, size)| bytes_of(number, index, *size))
            .collect();
        assert!(whole == sent, "{} of {} bytes", whole.len(), sent.len());
        let trailers = body.trailers().await.unwrap();
        assert_eq!(trailers.is_some(), call.trailers);
    };
    tokio::join!(sending, reading);
}

async fn through_a_proxy(own: Windows, peers: [Windows; 2], streams: u32, calls: Vec<Call>) {
    let [client, server] = peers;
    let address = echo(server, streams).await;
    let mut manager = manager(routes(vec![any(to(0))]));
    manager.http2.initial_stream_window = own.stream;
    manager.http2.initial_connection_window = own.connection;
    manager.max_request_header_count = 200;
    let mut config = cluster_config("b");
    config.protocol = UpstreamProtocol::Http2;
    config.http2.initial_stream_window = own.stream;
    config.http2.initial_connection_window = own.connection;
    let cluster = crate::model::Cluster {
        endpoints: std::sync::Arc::new(endpoints(vec![endpoint(address)])),
        ..std::sync::Arc::into_inner(cluster(config, &[])).unwrap()
    };
    let proxy = Proxy::start(manager, vec![std::sync::Arc::new(cluster)]).await;
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(client.stream)
        .initial_connection_window_size(client.connection)
        .max_frame_size(client.frame)
        .handshake::<_, Bytes>(socket)
        .await
        .unwrap();
    let done = Rc::new(Cell::new(false));
    let noted = done.clone();
    tokio::task::spawn_local(async move {
        connection.await.unwrap();
        noted.set(true);
    });
    let calls = calls.into_iter().enumerate();
    let calls = calls.map(|(number, call)| run_call(sender.clone(), number, call));
    futures_util::future::join_all(calls).await;
    drop(sender);
    until(|| done.get() && proxy.open.get() == 0).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bodies_arrive_whole_whatever_the_windows(
        own in windows(),
        peers in [windows(), windows()],
        // No fewer than calls: how many the server takes is known only once it has said so.
        streams in 12u32..20,
        calls in calls(),
    ) {
        run(through_a_proxy(own, peers, streams, calls));
    }
}
