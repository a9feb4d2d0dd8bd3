//! What the connections of a thread write in one turn of its event loop, written together at
//! the turn's end.
//!
//! A peer on the same host that waits for several of these messages is woken once instead of for
//! each; and the kernel's code and the proxy's take turns less often in the processor's caches.

use super::Connection;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Connections that wait at most, so that the first of a long turn does not wait for all.
const MOST: usize = 64;

#[derive(Default)]
struct Due {
    /// Each with its task.
    connections: Vec<(Rc<RefCell<Connection>>, Waker)>,
    /// The task that writes for them, while the thread has one.
    writer: Option<Waker>,
}

thread_local! {
    static DUE: RefCell<Due> = RefCell::default();
}

/// Has the connection's output written after all tasks that can run now.
pub(super) fn add(connection: &Rc<RefCell<Connection>>, task: &Waker) {
    let waiting = DUE.with_borrow_mut(|due| {
        due.connections.push((connection.clone(), task.clone()));
        if due.connections.len() == 1 {
            match &due.writer {
                Some(writer) => writer.wake_by_ref(),
                None => drop(tokio::task::spawn_local(writer())),
            }
        }
        due.connections.len()
    });
    if waiting == MOST {
        write();
    }
}

fn write() {
    let mut connections = DUE.with_borrow_mut(|due| std::mem::take(&mut due.connections));
    for (connection, task) in connections.drain(..) {
        connection.borrow_mut().flush_due(&task);
    }
    DUE.with_borrow_mut(|due| due.connections = connections);
}

/// The thread's writer: it runs behind the tasks that were ready when it was woken.
async fn writer() {
    let _ended = Ended;
    poll_fn(|cx| {
        DUE.with_borrow_mut(|due| due.writer = Some(cx.waker().clone()));
        write();
        Poll::Pending
    })
    .await
}

/// The task is gone, with its runtime.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        // At the end of the thread there may be nothing left to forget.
        let _ = DUE.try_with(RefCell::take);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testkit::run;
    use crate::net::Stream;
    use bytes::Bytes;
    use std::io;
    use std::task::Context;
    use tokio::net::UnixStream;

    fn connected() -> (Rc<RefCell<Connection>>, UnixStream) {
        let (own, peer) = UnixStream::pair().unwrap();
        let connection = Connection::new(Stream::from(own), Bytes::new());
        (Rc::new(RefCell::new(connection)), peer)
    }

    /// Puts a message out and leaves it to the end of the turn.
    fn say(connection: &Rc<RefCell<Connection>>, message: &[u8], task: &Waker) -> bool {
        let mut putting = connection.borrow_mut();
        putting.output.buffer().extend_from_slice(message);
        drop(putting);
        Connection::defer(connection, &Context::from_waker(task))
    }

    fn received(peer: &UnixStream) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 20];
        match peer.try_read(&mut bytes) {
            Ok(length) => Some(bytes[..length].to_vec()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                None
            }
        }
    }

    /// Until the turn has ended: behind the writer, whether it runs already or is made yet.
    async fn turn() {
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn messages_leave_behind_all_tasks_of_a_turn_and_in_order() {
        run(async {
            let (first, first_peer) = connected();
            let (second, second_peer) = connected();
            for peer in [&first_peer, &second_peer] {
                assert_eq!(received(peer), None);
            }
            for round in 0..2 {
                assert!(say(&first, b"one ", Waker::noop()), "round {round}");
                assert!(say(&second, b"two", Waker::noop()));
                assert!(say(&first, b"more", Waker::noop()));
                assert_eq!(received(&first_peer), None);
                assert_eq!(received(&second_peer), None);
                turn().await;
                for peer in [&first_peer, &second_peer] {
                    peer.readable().await.unwrap();
                }
                assert_eq!(received(&first_peer).unwrap(), b"one more");
                assert_eq!(received(&second_peer).unwrap(), b"two");
                assert!(first.borrow().is_quiet() && second.borrow().is_quiet());
            }
        });
    }

    #[test]
    fn a_long_turn_does_not_keep_the_first_waiting() {
        run(async {
            let pairs: Vec<_> = (0..MOST + 1).map(|_| connected()).collect();
            let left: Vec<bool> = pairs
                .iter()
                .map(|(connection, _)| say(connection, b"x", Waker::noop()))
                .collect();
            // Who fills the row finds its message written.
            let (last, row) = left.split_last().unwrap();
            assert!(*last && !row[MOST - 1] && row[..MOST - 1].iter().all(|left| *left));
            assert!(pairs[0].0.borrow().is_quiet() && pairs[MOST - 1].0.borrow().is_quiet());
            assert!(!pairs[MOST].0.borrow().is_quiet());
            turn().await;
            assert!(pairs[MOST].0.borrow().is_quiet());
        });
    }

    #[test]
    fn what_cannot_be_written_is_met_by_the_task() {
        run(async {
            let (connection, peer) = connected();
            drop(peer);
            let mut said = false;
            let error = poll_fn(|cx| {
                if !said {
                    said = say(&connection, b"x", cx.waker());
                    return Poll::Pending;
                }
                connection.borrow_mut().poll_rest(cx)
            })
            .await
            .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn what_is_left_over_is_written_when_there_is_room() {
        run(async {
            let (own, peer) = UnixStream::pair().unwrap();
            let filler = vec![0; 64 * 1024];
            let mut filled = 0;
            own.writable().await.unwrap();
            while let Ok(length) = own.try_write(&filler) {
                filled += length;
            }
            let connection = Connection::new(Stream::from(own), Bytes::new());
            let connection = Rc::new(RefCell::new(connection));
            let mut said = false;
            let written = poll_fn(|cx| {
                if !said {
                    said = say(&connection, b"last", cx.waker());
                    return Poll::Pending;
                }
                connection.borrow_mut().poll_rest(cx)
            });
            let read = async {
                let mut bytes = Vec::new();
                while bytes.len() < filled + 4 {
                    peer.readable().await.unwrap();
                    bytes.extend(received(&peer).unwrap_or_default());
                }
                bytes
            };
            let (written, bytes) = tokio::join!(written, read);
            written.unwrap();
            assert!(bytes.ends_with(b"last"));
        });
    }
}
