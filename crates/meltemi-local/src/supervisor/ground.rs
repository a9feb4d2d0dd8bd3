//! What a mesh stands on: a sandbox with namespaces, or one without where the machine forbids
//! them.

use super::Options;
use crate::events::{Event, Events};
use crate::running::Mode;
use crate::sandbox::{Sandbox, SandboxError, SandboxEvents};
use crate::settings::LocalMesh;
use meltemi_capture::RuleSet;
use std::net::{IpAddr, Ipv4Addr};

type Ground = (Sandbox, SandboxEvents);

/// The sandbox that the options ask for, opened; tells which it is.
///
/// # Errors
/// When namespaces are asked for and the machine forbids them, and when neither kind works.
pub(super) async fn prepare(
    options: &Options,
    settings: &LocalMesh,
    events: &Events,
) -> Result<Ground, SandboxError> {
    let why = match options.mode {
        Some(Mode::Loopback) => None,
        mode => match with_namespaces(options, settings).await {
            Ok(ground) => {
                let rootless = ground.0.capabilities().rootless;
                events.send(Event::Sandbox { rootless });
                return Ok(ground);
            }
            Err(SandboxError::Forbidden(why) | SandboxError::Failed(why)) if mode.is_none() => {
                Some(why)
            }
            Err(error) => return Err(error),
        },
    };
    let ground = start(options, false).await?;
    events.send(Event::Loopback { why });
    Ok(ground)
}

async fn start(options: &Options, namespaces: bool) -> Result<Ground, SandboxError> {
    let command = options.sandbox.clone();
    tokio::task::spawn_blocking(move || Sandbox::start(&command, namespaces))
        .await
        .map_err(|error| SandboxError::Failed(error.to_string()))?
}

/// Also makes a first namespace with rules: a machine can allow the one and not the other.
async fn with_namespaces(options: &Options, settings: &LocalMesh) -> Result<Ground, SandboxError> {
    const TRIAL: &str = "trial";
    let (sandbox, ends) = start(options, true).await?;
    let network = settings.network.mesh();
    let IpAddr::V4(first) = settings.network.pods.address() else {
        return Err(SandboxError::Failed("the pods' range is not IPv4".into()));
    };
    let opened = async {
        sandbox.open(network).await?;
        let address = Ipv4Addr::from(u32::from(first) + 2);
        let rules = RuleSet::standard(network.ranges());
        sandbox.create(TRIAL, address, rules).await?;
        sandbox.destroy(TRIAL).await
    };
    match opened.await {
        Ok(()) => Ok((sandbox, ends)),
        Err(SandboxError::Failed(why)) => Err(SandboxError::Forbidden(format!(
            "{why}; the kernel may lack bridges, veth pairs or nf_tables, or limit namespaces (sysctl user.max_net_namespaces)"
        ))),
        Err(error) => Err(error),
    }
}
