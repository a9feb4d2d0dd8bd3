//! What a container runs here: its own command, or the one its image stands for.

use crate::settings::LocalMesh;
use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A container's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments, references to variables still unexpanded.
    pub argv: Vec<String>,
    /// Variables the image sets.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// Why a container cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing says what its image means.
    #[error(
        "no command for image \"{image}\" of container {container}: add to meltemi.yaml under `images:`\n  - image: \"{image}\"\n    command: [PROGRAM, ARGUMENT]"
    )]
    NoCommand {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// Nothing says what the proxy's image means, or too much.
    #[error(
        "no program for the proxy's image \"{image}\": meltemi.yaml needs under `images:` an entry with Envoy's binary alone:\n  - image: \"{image}\"\n    command: [/usr/bin/envoy]"
    )]
    NoProxy {
        /// The proxy's image.
        image: String,
    },
}

/// Envoy's binary for a workload whose proxy has an image of its own; none for Meltemi's.
pub(crate) fn envoy(
    annotations: &BTreeMap<String, String>,
    settings: &LocalMesh,
    directory: &Path,
) -> Result<Option<PathBuf>, CommandError> {
    let Some(image) = proxy_image(annotations, settings) else {
        return Ok(None);
    };
    match settings.image(image).map(|image| image.command.as_slice()) {
        Some([program]) if program == "meltemi" => Ok(None),
        // A bare name is looked up in the PATH.
        Some([program]) if program.contains('/') => Ok(Some(directory.join(program))),
        Some([program]) => Ok(Some(program.into())),
        _ => Err(CommandError::NoProxy {
            image: image.to_owned(),
        }),
    }
}

/// The image of a workload's proxy; none for Meltemi's own.
pub(crate) fn proxy_image<'a>(
    annotations: &'a BTreeMap<String, String>,
    settings: &'a LocalMesh,
) -> Option<&'a str> {
    let annotated = annotations.get("sidecar.istio.io/proxyImage");
    annotated
        .or(settings.proxy_image.as_ref())
        .map(String::as_str)
}

/// Kubernetes' rule: `command` replaces the image's command and arguments, `args` replaces the
/// arguments. A program called `meltemi` is `own`.
pub(crate) fn resolve(
    container: &Container,
    settings: &LocalMesh,
    directory: &Path,
    own: &Path,
) -> Result<Command, CommandError> {
    let image = container
        .image
        .as_deref()
        .and_then(|name| settings.image(name));
    let own_command = container
        .command
        .clone()
        .filter(|command| !command.is_empty());
    let own_args = container.args.clone().filter(|args| !args.is_empty());
    let mut argv = match (&own_command, image) {
        (Some(command), _) => command.clone(),
        (None, Some(image)) => image.command.clone(),
        (None, None) => {
            return Err(CommandError::NoCommand {
                container: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
            });
        }
    };
    match (own_args, image) {
        (Some(args), _) => argv.extend(args),
        (None, Some(image)) if own_command.is_none() => argv.extend(image.args.iter().cloned()),
        _ => {}
    }
    if argv.first().is_some_and(|program| program == "meltemi") {
        argv[0] = own.to_string_lossy().into_owned();
    }
    let mut env: Vec<(String, String)> = Vec::new();
    let mut cwd = directory.to_owned();
    if let Some(image) = image {
        env.extend(
            image
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        env.extend(image.port.map(|port| ("PORT".to_owned(), port.to_string())));
        if let Some(working) = &image.working_dir {
            cwd = directory.join(working);
        }
    }
    if let Some(working) = &container.working_dir {
        cwd = directory.join(working);
    }
    Ok(Command { argv, env, cwd })
}
