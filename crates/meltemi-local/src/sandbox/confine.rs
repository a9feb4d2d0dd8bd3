//! Turning a freshly forked process into an application of a workload: its view of files and
//! names, and the loss of every privilege over the mesh. Shared by the sandbox and by `enter`.

#![expect(unsafe_code, reason = "capabilities")]

use super::landlock::enter_own_domain;
use super::protocol::{Reach, View};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A step that failed and why.
pub(crate) type Failure = (String, io::Error);

/// The capabilities an application started by root keeps: what container engines leave,
/// without raw sockets, device nodes and file capabilities (numbers of `linux/capability.h`).
const KEPT: [i32; 11] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    18, // SYS_CHROOT
    29, // AUDIT_WRITE
];
/// Capability numbers end well below this.
const CAPABILITIES: i32 = 64;
/// Name service caches that would answer from the host's network, over Unix sockets.
const HOST_CACHES: [&str; 2] = ["/run/nscd", "/var/run/nscd"];

fn failed<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Failure {
    move |error| (step.into(), error.into())
}

/// Mounts, names and ids. The process must already be in the workload's network namespace,
/// have the sandbox's capabilities, and be single-threaded. Returns variables to add to its
/// environment.
pub(crate) fn confine(view: &View) -> Result<Vec<(String, String)>, Failure> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .map_err(failed("make the application's namespaces"))?;
    private_mounts()?;
    let extra = files(view)?;
    nix::unistd::sethostname(&view.hostname).map_err(failed("set the host name"))?;
    if view.rootless {
        drop_into_user(view)?
    } else {
        drop_privileges(view)?
    }
    no_way_back(view)?;
    Ok(extra)
}

/// What of [`confine`] needs no namespaces: the loss of root's privileges, and its ids. A user
/// without privileges stays who it is.
pub(crate) fn soften(view: &View) -> Result<(), Failure> {
    if !view.rootless {
        drop_privileges(view)?;
    }
    no_way_back(view)
}

fn no_way_back(view: &View) -> Result<(), Failure> {
    nix::sys::prctl::set_no_new_privs().map_err(failed("forbid new privileges"))?;
    match view.reach {
        Reach::Own => enter_own_domain().map_err(failed("enter a Landlock domain")),
        Reach::User => Ok(()),
    }
}

pub(crate) fn private_mounts() -> Result<(), Failure> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(failed("make mounts private"))
}

/// Own resolver files over the machine's, then empty directories over what is not the
/// application's business. The staging directory ends covered too.
fn files(view: &View) -> Result<Vec<(String, String)>, Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("meltemi"),
        &view.staging,
        Some("tmpfs"),
        quiet,
        Some("size=1m,mode=755"),
    )
    .map_err(failed(format!("cover {}", view.staging.display())))?;
    let resolver = replace(view, "/etc/resolv.conf", &view.resolv_conf)?;
    replace(view, "/etc/hosts", &view.hosts)?;
    if let Ok(switch) = fs::read_to_string("/etc/nsswitch.conf") {
        replace(view, "/etc/nsswitch.conf", &plain_lookups(&switch))?;
    }
    let caches = HOST_CACHES.iter().map(PathBuf::from);
    for directory in caches
        .chain(view.hide.iter().cloned())
        .chain([view.staging.clone()])
    {
        if directory.is_dir() {
            mount(
                Some("meltemi"),
                &directory,
                Some("tmpfs"),
                quiet | MsFlags::MS_RDONLY,
                Some("size=4k,mode=555"),
            )
            .map_err(failed(format!("cover {}", directory.display())))?;
        }
    }
    // Without the file, resolvers ask 127.0.0.1, which is captured; only the search list is missing.
    Ok(if resolver {
        Vec::new()
    } else {
        resolver_variables(&view.resolv_conf)
    })
}

/// Puts `content` over `target`; false when there is no such file to cover.
fn replace(view: &View, target: &str, content: &str) -> Result<bool, Failure> {
    let Ok(real) = fs::canonicalize(target) else {
        return Ok(false);
    };
    let name = Path::new(target).file_name().unwrap_or_default();
    let own = view.staging.join(name);
    fs::write(&own, content).map_err(failed(format!("write {}", own.display())))?;
    mount(
        Some(&own),
        &real,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(failed(format!("cover {target}")))?;
    Ok(true)
}

/// Name lookups by files and DNS only: other sources ask daemons of the host's network.
fn plain_lookups(switch: &str) -> String {
    let mut text = String::new();
    for line in switch
        .lines()
        .filter(|line| !line.trim_start().starts_with("hosts:"))
    {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("hosts: files dns\n");
    text
}

/// The C library's variables for what resolv.conf says.
fn resolver_variables(resolv_conf: &str) -> Vec<(String, String)> {
    let line = |word: &str| {
        resolv_conf
            .lines()
            .find_map(|line| line.strip_prefix(word))
            .map(|rest| rest.trim().to_owned())
    };
    [
        ("LOCALDOMAIN", line("search ")),
        ("RES_OPTIONS", line("options ")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// Rootless: a nested user namespace in which the user is itself again, and which has no
/// power over the namespaces of the sandbox.
fn drop_into_user(view: &View) -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(failed("make the application's user namespace"))?;
    let (uid, gid) = (
        view.uid.unwrap_or(view.owner.0),
        view.gid.unwrap_or(view.owner.1),
    );
    map_ids(uid, 0, gid, 0)?;
    limit_capabilities(&[]);
    Ok(())
}

/// Maps one user and one group of the parent user namespace into the process's own.
pub(crate) fn map_ids(uid: u32, outer_uid: u32, gid: u32, outer_gid: u32) -> Result<(), Failure> {
    // Already denied in a nested namespace, where the file then refuses the write.
    if let Err(error) = fs::write("/proc/self/setgroups", "deny")
        && error.kind() != io::ErrorKind::PermissionDenied
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(("deny setgroups".into(), error));
    }
    fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1"))
        .map_err(failed("map the user id"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {outer_gid} 1"))
        .map_err(failed("map the group id"))
}

fn drop_privileges(view: &View) -> Result<(), Failure> {
    // Another user than root could only get them back through a file, which is forbidden too.
    let root = view.uid.is_none_or(|uid| uid == 0);
    limit_capabilities(if root { &KEPT } else { &[] });
    if view.uid.is_some() || view.gid.is_some() {
        let (uid, gid) = (
            view.uid.unwrap_or(view.owner.0),
            view.gid.unwrap_or(view.owner.1),
        );
        nix::unistd::setgroups(&[gid.into()]).map_err(failed("set the groups"))?;
        let gid = nix::unistd::Gid::from_raw(gid);
        nix::unistd::setresgid(gid, gid, gid).map_err(failed("set the group id"))?;
        let uid = nix::unistd::Uid::from_raw(uid);
        nix::unistd::setresuid(uid, uid, uid).map_err(failed("set the user id"))?;
    }
    Ok(())
}

/// Leaves only `kept` in the bounding set, which bounds what the next exec can have.
fn limit_capabilities(kept: &[i32]) {
    for capability in (0..CAPABILITIES).filter(|capability| !kept.contains(capability)) {
        // Numbers the kernel does not know are refused; there is nothing to drop then.
        // SAFETY: plain system call.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_use_files_and_dns_only() {
        let text = plain_lookups(
            "passwd: files\nhosts: files mymachines resolve [!UNAVAIL=return] dns\ngroup: files\n",
        );
        assert_eq!(text, "passwd: files\ngroup: files\nhosts: files dns\n");
    }

    #[test]
    fn the_search_list_survives_without_a_file() {
        let variables = resolver_variables("nameserver 10.98.0.1\nsearch a.b c\noptions ndots:5\n");
        assert_eq!(
            variables,
            [
                ("LOCALDOMAIN".into(), "a.b c".into()),
                ("RES_OPTIONS".into(), "ndots:5".into())
            ]
        );
    }
}
