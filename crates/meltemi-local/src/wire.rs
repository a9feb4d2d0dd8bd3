//! Messages over a Unix stream socket: a length, JSON, and descriptors beside it. Blocking.
//!
//! One frame is a 32-bit big-endian length and that many bytes of JSON; descriptors travel
//! with the first byte.

#![expect(unsafe_code, reason = "descriptors that came over a socket")]

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Largest frame: an environment full of ConfigMaps fits, a runaway peer does not.
const MAX_FRAME: usize = 8 << 20;
/// Descriptors in one frame at most (the kernel's own limit is 253).
pub const MAX_FDS: usize = 16;

/// Sends one message.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    if body.len() > MAX_FRAME || fds.len() > MAX_FDS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a message of {} bytes and {} descriptors is too large",
                body.len(),
                fds.len()
            ),
        ));
    }
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut sent = 0;
    while sent < frame.len() {
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if sent == 0 && !raw.is_empty() {
            &rights
        } else {
            &[]
        };
        let slice = [IoSlice::new(&frame[sent..])];
        match sendmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &slice,
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => sent += length,
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives one message, or `None` when the peer has closed between messages.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut fds = Vec::new();
    let mut head = [0; 4];
    if !fill(socket, &mut head, &mut fds)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes is too large"),
        ));
    }
    let mut body = vec![0; length];
    if !fill(socket, &mut body, &mut fds)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, fds)))
}

/// Fills the buffer; false when the stream ended before its first byte.
fn fill(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut space = cmsg_space!([RawFd; MAX_FDS]);
        let mut slice = [IoSliceMut::new(&mut buffer[filled..])];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slice, Some(&mut space), flags) {
                Ok(message) => message,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel just made these descriptors for us alone.
                fds.extend(
                    raw.into_iter()
                        .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
                );
            }
        }
        match message.bytes {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn messages_and_descriptors_arrive_together() {
        let (one, two) = UnixStream::pair().unwrap();
        let (mut pipe, end) = UnixStream::pair().unwrap();
        send(one.as_fd(), &"first", &[end.as_fd()]).unwrap();
        send(one.as_fd(), &"second", &[]).unwrap();
        drop((one, end));
        let (text, mut fds): (String, _) = receive(two.as_fd()).unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("first", 1));
        UnixStream::from(fds.remove(0))
            .write_all(b"through")
            .unwrap();
        let mut buffer = String::new();
        pipe.read_to_string(&mut buffer).unwrap();
        assert_eq!(buffer, "through");
        let (text, fds): (String, _) = receive(two.as_fd()).unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("second", 0));
        assert!(receive::<String>(two.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_torn_or_oversized_frame_is_an_error() {
        let (mut one, two) = UnixStream::pair().unwrap();
        one.write_all(&[0, 0, 0, 9, b'"']).unwrap();
        drop(one);
        assert!(receive::<String>(two.as_fd()).is_err());
        let (mut one, two) = UnixStream::pair().unwrap();
        one.write_all(&[0xff; 8]).unwrap();
        assert!(
            receive::<String>(two.as_fd())
                .unwrap_err()
                .to_string()
                .contains("too large")
        );
    }
}
