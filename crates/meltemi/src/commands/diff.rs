//! `meltemi diff -f FILE`: what applying would change.

use super::apply::Files;
use super::{Outcome, block_on};
use crate::mesh::Mesh;
use crate::output::{self, OutputArgs};
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, mesh: Option<&str>) -> Outcome {
    let mesh = Mesh::find(mesh)?;
    let text = args.files.read()?;
    block_on(async move {
        let answer: Value = mesh.api().json(Method::POST, "/v1/diff", text).await?;
        let diff = answer["diff"].as_str().unwrap_or("");
        output::print(args.output.output, &answer, || diff.to_owned())?;
        Ok(ExitCode::from(u8::from(!diff.is_empty())))
    })
}
