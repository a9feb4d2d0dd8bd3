//! One-time credentials, by which a proxy proves to the CA which workload it is.

use crate::paths::{MeshPaths, write_atomically};
use crate::plan::PodPlan;
use meltemi_identity::{LocalCredentials, LocalWorkload};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// A credential on file. Dropping it withdraws it: whoever holds the token loses it.
#[derive(Debug)]
pub(crate) struct Credential {
    token: String,
    files: [PathBuf; 2],
}

impl Credential {
    /// Makes a credential for the proxy of `plan`.
    pub(crate) fn issue(paths: &MeshPaths, plan: &PodPlan) -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let stem = LocalCredentials::file_stem(&token);
        let directory = paths.in_run("credentials");
        let files =
            ["json", "bound"].map(|extension| directory.join(format!("{stem}.{extension}")));
        let workload = LocalWorkload {
            namespace: plan.namespace.clone(),
            service_account: plan.service_account().to_owned(),
            workload: plan.workload().to_owned(),
            pod: plan.name.clone(),
            uid: plan.hash[..32].to_owned(),
        };
        write_atomically(&files[0], &serde_json::to_vec(&workload)?)?;
        Ok(Self { token, files })
    }

    /// A pipe's end from which the token can be read once.
    pub(crate) fn pipe(&self) -> io::Result<OwnedFd> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        // Fits the pipe's buffer: does not block.
        File::from(write).write_all(self.token.as_bytes())?;
        Ok(read)
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        for file in &self.files {
            if let Err(error) = fs::remove_file(file)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %file.display(), %error, "a credential stays");
            }
        }
    }
}
