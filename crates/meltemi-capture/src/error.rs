//! What went wrong between us and the kernel: the step, the kernel's words, and the remedy.

use std::io;

/// A refused step. The text names the step, the kernel's own explanation when it gave one,
/// and what to do about it where that is known.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}{}{}", explained(.kernel), remedied(.remedy))]
pub struct CaptureError {
    /// What was being done, e.g. `add chain output (nat)`.
    pub step: String,
    /// The kernel's error code.
    pub source: io::Error,
    /// The kernel's explanation (netlink extended acknowledgement).
    pub kernel: Option<String>,
    /// What makes this step work.
    pub remedy: Option<&'static str>,
}

fn explained(kernel: &Option<String>) -> String {
    kernel
        .as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default()
}

fn remedied(remedy: &Option<&'static str>) -> String {
    remedy.map(|text| format!("; {text}")).unwrap_or_default()
}

impl CaptureError {
    pub(crate) fn new(step: impl Into<String>, source: io::Error) -> Self {
        let remedy = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Some(
                "this needs CAP_NET_ADMIN over the namespace: run as root, or allow unprivileged user namespaces",
            ),
            Some(libc::ENOSPC) => Some(
                "a namespace limit is reached: raise user.max_user_namespaces, user.max_net_namespaces or user.max_mnt_namespaces",
            ),
            _ => None,
        };
        Self {
            step: step.into(),
            source,
            kernel: None,
            remedy,
        }
    }

    pub(crate) fn last(step: impl Into<String>) -> Self {
        Self::new(step, io::Error::last_os_error())
    }

    pub(crate) fn kernel(mut self, text: Option<String>) -> Self {
        self.kernel = text;
        self
    }

    /// Names the kernel piece a step needs, when the kernel says that it has no such thing.
    pub(crate) fn needs(mut self, piece: &'static str) -> Self {
        if matches!(
            self.source.raw_os_error(),
            Some(
                libc::ENOENT
                    | libc::EOPNOTSUPP
                    | libc::EAFNOSUPPORT
                    | libc::EPROTONOSUPPORT
                    | libc::EINVAL
            )
        ) {
            self.remedy = Some(piece);
        }
        self
    }

    /// True when the kernel refused for lack of privilege.
    pub fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Turns a `-1` of a system call into the error of `step`.
pub(crate) fn check(step: &str, result: libc::c_int) -> Result<libc::c_int, CaptureError> {
    if result < 0 {
        Err(CaptureError::last(step))
    } else {
        Ok(result)
    }
}
