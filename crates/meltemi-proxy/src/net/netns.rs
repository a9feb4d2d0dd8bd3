//! Work in another network namespace.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Moves the calling thread into the namespace for good. For threads made for it.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!(
                "joining the workload's network namespace (descriptor {}) failed: {error}; the proxy needs CAP_SYS_ADMIN in the user namespace that owns it",
                namespace.as_raw_fd()
            ),
        )
    })
}

/// Runs `work` in the namespace, on a thread that ends with it; without a namespace, right
/// here. A socket made there belongs to the namespace wherever it is used later.
pub fn run<T: Send>(
    namespace: Option<BorrowedFd<'_>>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(namespace) = namespace else {
        return work();
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || {
                enter(namespace)?;
                work()
            })?
            .join()
            .unwrap_or_else(|_| {
                Err(io::Error::other(
                    "the thread in the network namespace panicked",
                ))
            })
    })
}
