//! Telling a process from a later one with the same id.

#![expect(unsafe_code, reason = "system calls without a wrapper")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most of `/proc/PID/stat` that is read.
const MAX_STAT_BYTES: u64 = 4096;
/// `PID_FS_MAGIC`: descriptors of processes are in a file system of their own (Linux 6.9).
const PID_FS: libc::c_long = 0x5049_4446;

/// A name for a running process that no other process since the machine's start has.
///
/// # Errors
/// When there is no such process, it has ended, or this kernel tells processes apart by `/proc`
/// only, and that does not show it.
pub(super) fn identify(pid: i32) -> io::Result<String> {
    match unique(pid)? {
        Some(inode) => Ok(format!("{pid} {inode}")),
        None => started(pid).map_err(|error| {
            io::Error::other(format!(
                "{error}; /proc has to show all processes (no hidepid, nothing masked) on kernels \
                 before Linux 6.9"
            ))
        }),
    }
}

/// The inode of its descriptor, which is never used again; none on kernels whose descriptors of
/// processes have no inodes of their own.
fn unique(pid: i32) -> io::Result<Option<u64>> {
    // SAFETY: plain system call.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOSYS) => Ok(None),
            _ => Err(error),
        };
    }
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: a new descriptor, ours alone.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    if has_ended(&file) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    // SAFETY: all zeroes is a valid value of this plain C struct.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the struct lives as long as the call.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut system) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if system.f_type != PID_FS {
        return Ok(None);
    }
    Ok(Some(file.metadata()?.ino()))
}

/// The descriptor of a process is readable once it has ended.
fn has_ended(process: &File) -> bool {
    let mut poll = libc::pollfd {
        fd: process.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one element, which lives as long as the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
}

/// The start time in clock ticks after boot (proc(5), field 22).
fn started(pid: i32) -> io::Result<String> {
    let mut stat = String::new();
    File::open(Path::new(&format!("/proc/{pid}/stat")))?
        .take(MAX_STAT_BYTES)
        .read_to_string(&mut stat)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed stat");
    // The second field is the program's name, which may hold anything; the last
    // parenthesis ends it.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next().ok_or_else(malformed)?;
    if matches!(state, "Z" | "X") {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    // Counting from the third field, the state.
    let start = fields.nth(18).ok_or_else(malformed)?;
    Ok(format!("{pid} {start}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_has_one_name_and_another_process_another() {
        let own = std::process::id() as i32;
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let other = child.id() as i32;
        for way in [identify, started] {
            assert_eq!(way(own).unwrap(), way(own).unwrap());
            assert_ne!(way(own).unwrap(), way(other).unwrap());
        }
        child.kill().unwrap();
        // A zombie until it is waited for.
        let mut stat = String::new();
        while !stat.contains(") Z") {
            stat = std::fs::read_to_string(format!("/proc/{other}/stat")).unwrap();
        }
        for way in [identify, started] {
            assert!(way(other).unwrap_err().to_string().contains("it has ended"));
        }
        child.wait().unwrap();
        assert!(identify(other).is_err());
    }
}
