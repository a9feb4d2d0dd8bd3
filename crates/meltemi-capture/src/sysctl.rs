//! Settings below `/proc/sys/net`, which are those of the calling thread's namespace.

use std::fs;

/// Sets `name` (slashes, below `/proc/sys/net`), where the file system lets us: a read-only
/// `/proc/sys`, as in many containers, leaves the default. Returns whether it holds.
pub(crate) fn set(name: &str, value: &str) -> bool {
    fs::write(format!("/proc/sys/net/{name}"), value).is_ok()
}

/// What a workload's namespace needs before applications run in it: ports below 1024 and
/// `ping` without privilege, no waiting for duplicate addresses, no router advertisements.
pub(crate) fn prepare_workload() {
    set("ipv4/ip_unprivileged_port_start", "0");
    // A user namespace with one group mapped accepts that group only.
    let _ = set("ipv4/ping_group_range", "0 2147483647") || set("ipv4/ping_group_range", "0 0");
    for interface in ["all", "default"] {
        set(&format!("ipv6/conf/{interface}/accept_dad"), "0");
        set(&format!("ipv6/conf/{interface}/accept_ra"), "0");
        set(&format!("ipv6/conf/{interface}/disable_ipv6"), "0");
    }
}
