//! Why a machine refuses namespaces, in words that say what to change.

use std::fs;
use std::io;

/// Whether an error is the machine's policy rather than a fault.
pub(crate) fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM | libc::EACCES | libc::ENOSPC | libc::ENOSYS | libc::EINVAL | libc::EUSERS
        )
    )
}

/// What to enable, judged from the kernel's settings.
pub(crate) fn remedy(error: &io::Error) -> Option<String> {
    if !is_forbidden(error) {
        return None;
    }
    Some(advice(error, |name| {
        fs::read_to_string(format!("/proc/sys/{name}"))
            .ok()
            .map(|text| text.trim().to_owned())
    }))
}

fn advice(error: &io::Error, setting: impl Fn(&str) -> Option<String>) -> String {
    let is = |name: &str, value: &str| setting(name).as_deref() == Some(value);
    if is("kernel/unprivileged_userns_clone", "0") {
        return "unprivileged user namespaces are switched off: sudo sysctl kernel.unprivileged_userns_clone=1".into();
    }
    if is("user/max_user_namespaces", "0") {
        return "user namespaces are limited to none: sudo sysctl user.max_user_namespaces=15000"
            .into();
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "AppArmor restricts unprivileged user namespaces: \
                sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
            .into();
    }
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => {
            "a namespace limit is reached: raise the user.max_*_namespaces settings, or end other users of namespaces".into()
        }
        Some(libc::ENOSYS | libc::EINVAL) => {
            "the kernel lacks a namespace (CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_UTS_NS)".into()
        }
        _ => "user namespaces are refused, as in containers with a default seccomp profile: run as root with \
              CAP_SYS_ADMIN, or allow unshare(2) (docker: --security-opt seccomp=unconfined)"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_setting_is_named() {
        let eperm = io::Error::from_raw_os_error(libc::EPERM);
        for (name, value, expected) in [
            (
                "kernel/unprivileged_userns_clone",
                "0",
                "kernel.unprivileged_userns_clone=1",
            ),
            ("user/max_user_namespaces", "0", "user.max_user_namespaces="),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "apparmor_restrict_unprivileged_userns=0",
            ),
        ] {
            let text = advice(&eperm, |asked| (asked == name).then(|| value.to_owned()));
            assert!(text.contains(expected), "{text}");
        }
        assert!(advice(&eperm, |_| None).contains("seccomp"));
        assert!(remedy(&io::Error::from_raw_os_error(libc::ENOENT)).is_none());
    }
}
