//! A network namespace, held by a descriptor and by nothing else.

#![expect(unsafe_code, reason = "a thread changes its network namespace")]

use crate::error::{CaptureError, check};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A network namespace. It lives as long as a descriptor of it, a process or a thread in it;
/// nothing appears in the file system.
#[derive(Debug)]
pub struct Netns(OwnedFd);

impl Netns {
    /// A new, empty namespace (loopback down). It belongs to the caller's user namespace.
    pub fn create() -> Result<Self, CaptureError> {
        in_thread("create a network namespace", || {
            // SAFETY: changes only this thread, which ends right after.
            check("create a network namespace", unsafe {
                libc::unshare(libc::CLONE_NEWNET)
            })
            .map_err(|error| error.needs("the kernel needs network namespaces (CONFIG_NET_NS)"))?;
            Self::current()
        })?
    }

    /// The calling thread's own namespace.
    pub fn current() -> Result<Self, CaptureError> {
        let file = File::open("/proc/thread-self/ns/net")
            .map_err(|error| CaptureError::new("open /proc/thread-self/ns/net", error))?;
        Ok(Self(file.into()))
    }

    /// A second descriptor of the same namespace.
    pub fn try_clone(&self) -> Result<Self, CaptureError> {
        self.0
            .try_clone()
            .map(Self)
            .map_err(|error| CaptureError::new("duplicate a namespace descriptor", error))
    }

    /// Moves the calling thread into the namespace, for good: for threads (or freshly forked
    /// processes) that are made for it.
    pub fn enter(&self) -> Result<(), CaptureError> {
        // SAFETY: plain system call on a descriptor that is open.
        check("join a network namespace", unsafe {
            libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET)
        })?;
        Ok(())
    }

    /// Runs `work` in a thread of its own inside the namespace and waits for it. A socket made
    /// there stays in the namespace wherever it is used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, CaptureError> {
        in_thread("work in a network namespace", || {
            self.enter()?;
            Ok(work())
        })?
    }
}

fn in_thread<T: Send>(step: &str, work: impl FnOnce() -> T + Send) -> Result<T, CaptureError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)
            .map_err(|error| CaptureError::new(format!("{step}: start a thread"), error))?;
        thread
            .join()
            .map_err(|_| CaptureError::new(step, io::Error::other("the thread panicked")))
    })
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Netns> for OwnedFd {
    fn from(netns: Netns) -> Self {
        netns.0
    }
}
