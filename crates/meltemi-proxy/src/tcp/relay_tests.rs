//! The relay between real sockets.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().await.unwrap().0)
}

struct Ends {
    client: TcpStream,
    server: TcpStream,
    downstream: Stream,
    upstream: Stream,
}

async fn ends() -> Ends {
    let (client, downstream) = pair().await;
    let (upstream, server) = pair().await;
    Ends {
        client,
        server,
        downstream: downstream.into(),
        upstream: upstream.into(),
    }
}

#[tokio::test]
async fn each_direction_ends_on_its_own() {
    let mut ends = ends().await;
    let mut moved = Relayed::default();
    let relaying = relay(
        &mut ends.downstream,
        &mut ends.upstream,
        Limits::default(),
        None,
        &mut moved,
    );
    let (mut client, mut server) = (ends.client, ends.server);
    let talk = async {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"question");
        // The client has said its last word, the answer still comes.
        server.write_all(b"the answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).await.unwrap();
        assert_eq!(answered, b"the answer");
    };
    let (end, ()) = tokio::join!(relaying, talk);
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(
        moved,
        Relayed {
            received: 8,
            sent: 10
        }
    );
}

#[tokio::test]
async fn much_data_goes_both_ways_with_a_bounded_buffer() {
    const BYTES: usize = 8 * 1024 * 1024;
    let mut ends = ends().await;
    let mut moved = Relayed::default();
    let relaying = relay(
        &mut ends.downstream,
        &mut ends.upstream,
        Limits::default(),
        None,
        &mut moved,
    );
    async fn side(stream: TcpStream, fill: u8) {
        let (mut read, mut write) = stream.into_split();
        let writing = async {
            let chunk = vec![fill; 100_000];
            let mut left = BYTES;
            while left > 0 {
                let now = left.min(chunk.len());
                write.write_all(&chunk[..now]).await.unwrap();
                left -= now;
            }
            write.shutdown().await.unwrap();
        };
        let reading = async {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), BYTES);
            assert!(all.iter().all(|byte| *byte == 3 - fill));
        };
        tokio::join!(writing, reading);
    }
    let (end, (), ()) = tokio::join!(relaying, side(ends.client, 1), side(ends.server, 2));
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(moved.received, BYTES as u64);
    assert_eq!(moved.sent, BYTES as u64);
}

#[tokio::test]
async fn a_reset_and_idleness_end_it() {
    let mut broken = ends().await;
    let mut moved = Relayed::default();
    socket2::SockRef::from(&broken.server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(broken.server);
    let end = relay(
        &mut broken.downstream,
        &mut broken.upstream,
        Limits::default(),
        None,
        &mut moved,
    )
    .await;
    assert!(matches!(end, End::Upstream(_)), "{end:?}");

    let mut idle = ends().await;
    let time = Some(Duration::from_millis(20));
    let end = relay(
        &mut idle.downstream,
        &mut idle.upstream,
        Limits::default(),
        time,
        &mut moved,
    )
    .await;
    assert!(matches!(end, End::Idle), "{end:?}");
}

#[tokio::test]
async fn no_more_is_held_than_the_limit_says() {
    let (mut client, downstream) = pair().await;
    let (own, server) = tokio::net::UnixStream::pair().unwrap();
    own.writable().await.unwrap();
    while own.try_write(&[0; 4096]).is_ok() {}
    let (mut downstream, mut upstream) = (Stream::from(downstream), Stream::from(own));
    client.write_all(&[1; 10_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let limits = Limits {
        received: 1000,
        ..Limits::default()
    };
    let mut moved = Relayed::default();
    downstream.socket().readable().await.unwrap();
    {
        let relaying = relay(&mut downstream, &mut upstream, limits, None, &mut moved);
        let mut relaying = std::pin::pin!(relaying);
        poll_fn(|cx| {
            assert!(relaying.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    let mut left = Vec::new();
    downstream.read_to_end(&mut left).await.unwrap();
    assert_eq!(left.len(), 9000);
    drop(server);
}
