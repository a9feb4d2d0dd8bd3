//! What the two processes say to each other: JSON in packets of a Unix socket, descriptors
//! beside it. Blocking.

use super::SocketKey;
use crate::sys;
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, accept4, bind, connect, getsockopt, listen, recvmsg, sendmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Listening sockets of one address; descriptors beside it.
    Socket(SocketKey),
    /// That were all.
    End,
    /// The new process serves.
    Live,
    /// The old process accepts no more.
    Released,
}

/// Bytes of the longest message; a socket's path has 107.
const LONGEST: usize = 1024;
/// Descriptors beside one message: the kernel's limit is 253.
const MAX_DESCRIPTORS: usize = 128;

/// A socket of packets (SOCK_SEQPACKET), listening or connected.
pub(super) struct Packets(OwnedFd);

impl Packets {
    fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            flags,
            None,
        )?))
    }

    pub fn connect(path: &Path) -> io::Result<Self> {
        let packets = Self::new()?;
        connect(packets.0.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(packets)
    }

    pub fn listen(path: &Path) -> io::Result<Self> {
        let packets = Self::new()?;
        bind(packets.0.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&packets.0, Backlog::new(1)?)?;
        Ok(packets)
    }

    pub fn accept(&self) -> io::Result<Self> {
        let raw = accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
        Ok(Self(sys::owned(raw)))
    }

    /// How long sending and receiving may take; `None`: for ever.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        let seconds = patience.map_or(0, |patience| patience.as_secs());
        let time = TimeVal::new(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
        setsockopt(&self.0, sockopt::SendTimeout, &time)?;
        setsockopt(&self.0, sockopt::ReceiveTimeout, &time)?;
        Ok(())
    }

    /// Whether the peer runs as the same user, or as root.
    pub fn is_of_this_user(&self) -> io::Result<bool> {
        let peer = getsockopt(&self.0, sockopt::PeerCredentials)?.uid();
        Ok(peer == 0 || peer == nix::unistd::geteuid().as_raw())
    }

    /// Sends a message, in as many packets as its descriptors need.
    pub fn send(&self, message: &Message, descriptors: &[OwnedFd]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let mut parts: Vec<&[RawFd]> = raw.chunks(MAX_DESCRIPTORS).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for part in parts {
            let rights = [ControlMessage::ScmRights(part)];
            let control = if part.is_empty() { &[][..] } else { &rights };
            let slice = [IoSlice::new(&bytes)];
            let flags = MsgFlags::MSG_NOSIGNAL;
            sendmsg::<UnixAddr>(self.0.as_raw_fd(), &slice, control, flags, None)?;
        }
        Ok(())
    }

    /// The next packet; `None` when the peer has gone.
    pub fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = [0; LONGEST];
        let mut space = cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let (length, descriptors) = {
            let mut slice = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = self.0.as_fd().as_raw_fd();
            let packet = recvmsg::<UnixAddr>(fd, &mut slice, Some(&mut space), flags)?;
            let mut descriptors = Vec::new();
            for control in packet.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    descriptors.extend(raw.into_iter().map(sys::owned));
                }
            }
            (packet.bytes, descriptors)
        };
        if length == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&bytes[..length])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((message, descriptors)))
    }
}
