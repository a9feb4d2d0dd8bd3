//! Runs a test's body twice in processes of their own: as root, and as the root of a user
//! namespace that an unprivileged user made.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const ROLE: &str = "MELTEMI_CAPTURE_TEST_ROLE";
const NOBODY: u32 = 65534;

/// Runs `body` as root (when the tests run as root) and rootless. Prints a line for what the
/// machine does not allow.
pub fn everywhere(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ROLE).is_some() {
        return body();
    }
    // SAFETY: no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if root {
        child(test, "root", |_| {});
    } else {
        eprintln!("skipped: {test} as root: the tests run as an ordinary user");
    }
    if let Err(error) = user_namespaces(root) {
        eprintln!("skipped: {test} rootless: user namespaces are forbidden here: {error}");
        return;
    }
    child(test, "rootless", |command| {
        // SAFETY: only system calls and small file writes between fork and exec.
        unsafe { command.pre_exec(move || become_namespace_root(root)) };
    });
}

fn child(test: &str, role: &str, prepare: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role);
    prepare(&mut command);
    let output = command.output().expect("start the test's own process");
    assert!(
        output.status.success(),
        "{test} as {role}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn user_namespaces(root: bool) -> io::Result<()> {
    let mut command = Command::new("/bin/true");
    // SAFETY: only system calls and small file writes between fork and exec.
    unsafe { command.pre_exec(move || become_namespace_root(root)) };
    command.status().map(|_| ())
}

fn become_namespace_root(drop: bool) -> io::Result<()> {
    let check = |result: libc::c_int| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: plain system calls of a single-threaded process.
    unsafe {
        if drop {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(NOBODY))?;
            check(libc::setuid(NOBODY))?;
            // Changing user made /proc/self root's; the maps below must be writable.
            check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
        }
        let (uid, gid) = (libc::geteuid(), libc::getegid());
        check(libc::unshare(libc::CLONE_NEWUSER))?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    Ok(())
}
