//! Running the inspectors over a socket, by MSG_PEEK: the bytes stay where they are, for
//! TLS, HTTP or the relay to read.

use super::proxy_protocol::{self, Ends, Start};
use super::{HttpVerdict, TlsVerdict, http, tls};
use crate::model::{ProxyProtocol, Transport};
use crate::net::buffers;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

/// Bytes looked at, at most: more than any inspector needs.
const WINDOW: usize = 64 * 1024;

/// Which inspectors run on the connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::listener) struct Wanted {
    pub tls: bool,
    pub http: bool,
}

/// What inspection found out so far; a timeout may leave it unfinished.
#[derive(Debug)]
pub(in crate::listener) struct Outcome {
    pub transport: Transport,
    pub server_name: Option<Box<str>>,
    pub protocols: Vec<Box<[u8]>>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            transport: Transport::RawBuffer,
            server_name: None,
            protocols: Vec::new(),
        }
    }
}

/// Inspects until every wanted inspector has an answer.
///
/// # Errors
/// The peer went away before it sent anything, or its ClientHello is too large.
pub(in crate::listener) async fn inspect(
    stream: &TcpStream,
    mut wanted: Wanted,
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    if wanted.tls || wanted.http {
        look(stream, |bytes| {
            judge(bytes, &mut wanted, &mut outcome)?;
            Ok((!wanted.tls && !wanted.http).then_some(()))
        })
        .await?;
    }
    Ok(outcome)
}

/// Takes the header of the PROXY protocol off the connection. `Ok(None)`: there is none, or it
/// changes nothing.
///
/// # Errors
/// The peer went away, or its header is missing or wrong.
pub(in crate::listener) async fn take_proxy_header(
    stream: &mut TcpStream,
    filter: ProxyProtocol,
) -> io::Result<Option<Ends>> {
    let wrong = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    let length = look(stream, |bytes| match proxy_protocol::start(bytes) {
        Start::NeedMore => Ok(None),
        Start::Header(length) => Ok(Some(length)),
        Start::Other if filter.optional => Ok(Some(0)),
        Start::Other => Err(wrong("the PROXY protocol's header is missing")),
        Start::Malformed => Err(wrong("the PROXY protocol's header is too long")),
    })
    .await?;
    let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
    if length == 0 {
        return Ok(None);
    }
    // At most 64 KiB and a little.
    let mut header = vec![0; length];
    stream.read_exact(&mut header).await?;
    proxy_protocol::ends(&header).map_err(wrong)
}

/// Shows `judge` all bytes that have arrived, each time there are more, until it has an
/// answer; `None` when the peer sends no more.
async fn look<T>(
    stream: &TcpStream,
    mut judge: impl FnMut(&[u8]) -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let mut buffer = buffers::take();
        let peeked = stream.try_io(Interest::READABLE, || {
            let window = &mut buffer[..WINDOW];
            let length = recv(stream.as_raw_fd(), window, MsgFlags::MSG_PEEK)?;
            Ok(length)
        });
        let seen = match peeked {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => judge(&buffer[..length]),
            Err(error) => Err(error),
        };
        buffers::give(buffer);
        match seen {
            // Whoever reads next finds the socket readable, as it is.
            Ok(Some(answer)) => return Ok(Some(answer)),
            Ok(None) if ready.is_read_closed() => return Ok(None),
            // The same bytes would be seen again and again, because they stay: forget that
            // the socket is readable. The poller is edge-triggered, so the next bytes (or
            // the end) make it readable anew, and bytes that came since the peek have an
            // event of their own waiting. At most one useless peek a segment follows.
            Ok(None) => {
                let _ = stream.try_io(Interest::READABLE, || {
                    Err::<(), _>(io::ErrorKind::WouldBlock.into())
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a socket readable again whose inspection was given up: bytes that were seen and
/// left in it would wait for the next ones otherwise. Registering anew asks the poller what
/// is there.
///
/// # Errors
/// The poller takes no more sockets.
pub(in crate::listener) fn give_up(stream: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

fn judge(bytes: &[u8], wanted: &mut Wanted, outcome: &mut Outcome) -> io::Result<()> {
    if wanted.tls {
        match tls(bytes) {
            TlsVerdict::NeedMore => return Ok(()),
            TlsVerdict::NotTls => wanted.tls = false,
            TlsVerdict::TooLarge => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the ClientHello is too large",
                ));
            }
            TlsVerdict::Tls {
                server_name,
                protocols,
                ..
            } => {
                outcome.transport = Transport::Tls;
                outcome.server_name = server_name;
                outcome.protocols = protocols;
                *wanted = Wanted {
                    tls: false,
                    http: false,
                };
            }
        }
    }
    if wanted.http {
        match http(bytes) {
            HttpVerdict::NeedMore => {}
            verdict => {
                wanted.http = false;
                outcome.protocols.extend(verdict.protocol().map(Into::into));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    const BOTH: Wanted = Wanted {
        tls: true,
        http: true,
    };

    #[tokio::test]
    async fn bytes_may_come_one_at_a_time_and_stay() {
        let (mut client, server) = pair().await;
        let request = b"GET /reviews HTTP/1.1\r\n";
        let writer = async {
            for byte in request {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (outcome, ()) = tokio::join!(inspect(&server, BOTH), writer);
        let outcome = outcome.unwrap();
        assert_eq!(
            outcome.protocols,
            [b"http/1.1".as_slice().into()] as [Box<[u8]>; 1]
        );
        let mut seen = [0; 64];
        assert_eq!(server.peek(&mut seen).await.unwrap(), request.len());
    }

    #[tokio::test]
    async fn waiting_for_more_does_not_spin() {
        let (mut client, server) = pair().await;
        client.write_all(b"GE").await.unwrap();
        let mut polls = 0;
        let mut inspection = std::pin::pin!(inspect(&server, BOTH));
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            inspection.as_mut().poll(cx)
        });
        let idle = std::time::Duration::from_millis(200);
        assert!(tokio::time::timeout(idle, counted).await.is_err());
        assert!(polls < 10, "{polls} polls while nothing arrived");
    }

    #[tokio::test]
    async fn what_was_seen_can_be_read_at_once() {
        use tokio::io::AsyncReadExt;
        let (mut client, mut server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        inspect(&server, BOTH).await.unwrap();
        let mut seen = [0; 64];
        let limit = std::time::Duration::from_secs(10);
        let read = tokio::time::timeout(limit, server.read(&mut seen)).await;
        assert_eq!(read.unwrap().unwrap(), 16);
    }

    #[tokio::test]
    async fn what_was_seen_is_read_afterwards_whatever_the_end() {
        for (sent, finished) in [
            (b"GET / HTTP/1.1\r\n".as_slice(), true),
            (b"GET /unf", false),
        ] {
            let (mut client, server) = pair().await;
            client.write_all(sent).await.unwrap();
            let time = std::time::Duration::from_millis(50);
            let inspection = tokio::time::timeout(time, inspect(&server, BOTH)).await;
            assert_eq!(inspection.is_ok(), finished);
            let mut server = if finished {
                server
            } else {
                give_up(server).unwrap()
            };
            let mut read = vec![0; sent.len()];
            let reading = tokio::io::AsyncReadExt::read_exact(&mut server, &mut read);
            tokio::time::timeout(time * 20, reading)
                .await
                .expect("never readable")
                .unwrap();
            assert_eq!(read, sent);
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_decides_and_an_empty_end_is_an_error() {
        let (mut client, server) = pair().await;
        client.write_all(b"GET /unfin").await.unwrap();
        client.shutdown().await.unwrap();
        let outcome = inspect(&server, BOTH).await.unwrap();
        assert!(outcome.protocols.is_empty());
        let (mut client, server) = pair().await;
        client.shutdown().await.unwrap();
        assert!(inspect(&server, BOTH).await.is_err());
    }
}
