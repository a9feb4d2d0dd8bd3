use super::*;
use crate::http::testkit::{cluster_config, run};
use http_body::Body;
use std::collections::VecDeque;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn pair() -> (Http1Client, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    (Http1Client::new(own.into(), &cluster_config("b")), peer)
}

fn post(data: &'static [u8]) -> Request<RequestBody> {
    let chunks = VecDeque::from([Bytes::from_static(data)]);
    let mut request = Request::new(RequestBody::Chunks(chunks));
    *request.method_mut() = Method::POST;
    request
}

#[test]
fn a_request_comes_back_whole_when_no_byte_of_it_was_written() {
    run(async {
        let (mut client, peer) = pair();
        assert!(client.is_ready());
        // Noticed before anything is done.
        drop(peer);
        let failed = client.send(post(b"data")).await.err().unwrap();
        assert!(!client.is_ready() && failed.connection_ended());
        let request = failed.unsent.unwrap();
        assert_eq!(request.body().size_hint().exact(), Some(4));

        // Noticed by the write itself: reading still works.
        let (mut client, peer) = pair();
        let peer = peer.into_std().unwrap();
        peer.shutdown(std::net::Shutdown::Read).unwrap();
        let failed = client.send(*request).await.err().unwrap();
        let request = failed.unsent.unwrap();
        assert_eq!(*request.method(), Method::POST);
        assert_eq!(request.body().size_hint().exact(), Some(4));
    });
}

#[test]
fn a_request_that_was_written_does_not_come_back() {
    run(async {
        let (mut client, mut peer) = pair();
        let closing = async {
            let mut read = [0; 1];
            peer.read_exact(&mut read).await.unwrap();
            drop(peer);
        };
        let (sent, ()) = tokio::join!(client.send(post(b"data")), closing);
        let failed = sent.err().unwrap();
        assert!(failed.unsent.is_none() && failed.connection_ended());
        assert!(!client.is_ready());
    });
}

#[test]
fn bytes_that_nobody_asked_for_make_a_connection_unusable() {
    run(async {
        let (mut client, mut peer) = pair();
        assert!(client.is_ready());
        peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while client.is_ready() {
            tokio::task::yield_now().await;
        }
        let failed = client.send(post(b"data")).await.err().unwrap();
        assert!(failed.unsent.is_some());
    });
}

#[test]
fn an_idle_connection_holds_no_bytes() {
    run(async {
        let (mut client, mut peer) = pair();
        let answering = async {
            let mut read = [0; 4096];
            assert!(peer.read(&mut read).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            peer.write_all(answer).await.unwrap();
        };
        let (response, ()) = tokio::join!(client.send(post(b"data")), answering);
        let mut body = response.ok().unwrap().into_body();
        let frame = poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        assert_eq!(frame.unwrap().unwrap().data_ref().unwrap(), "ok");
        assert!(body.is_end_stream() && client.is_ready());
        let connection = client.connection.borrow();
        assert!(connection.input.is_empty() && connection.output.is_empty());
        assert_eq!(Rc::strong_count(&client.connection), 1);
    });
}
