//! `meltemi down`.

use super::{Outcome, block_on, duration};
use crate::mesh::MeshArgs;
use anyhow::bail;
use hyper::Method;
use meltemi_local::running::MeshInfo;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether the mesh has ended.
const POLL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// How long to wait for the end
    #[arg(long, value_parser = duration, default_value = "60s", value_name = "DURATION")]
    wait_timeout: Duration,
}

pub fn run(args: Args) -> Outcome {
    if args.mesh.mesh.is_none() && MeshInfo::all(&meltemi_local::paths::runtime_root())?.is_empty()
    {
        crate::output::write("no mesh is running\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mesh = args.mesh.find()?;
    block_on(async move {
        let _: Value = mesh
            .supervisor()
            .json(Method::POST, "/v1/down", String::new())
            .await?;
        let deadline = Instant::now() + args.wait_timeout;
        while mesh.info.is_alive() {
            if Instant::now() >= deadline {
                bail!(
                    "mesh {} has not ended within {} s; its supervisor is process {}",
                    mesh.info.name,
                    args.wait_timeout.as_secs(),
                    mesh.info.pid
                );
            }
            tokio::time::sleep(POLL).await;
        }
        crate::output::write(&format!("mesh {} is down\n", mesh.info.name))?;
        Ok(ExitCode::SUCCESS)
    })
}
