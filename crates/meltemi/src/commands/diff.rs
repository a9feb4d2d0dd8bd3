//! `meltemi diff -f FILE`: what applying would change.

use super::apply::Files;
use super::{Outcome, block_on};
use crate::mesh::ApiArgs;
use crate::output::{self, OutputArgs};
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: ApiArgs,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args) -> Outcome {
    let api = args.mesh.find()?;
    let stream = args.files.read()?;
    block_on(async {
        let answer = api
            .json(Method::POST, "/v1/diff", stream.text.clone())
            .await;
        let answer: Value = answer.map_err(|error| stream.explain(&error))?;
        stream.warn(&answer, args.output.output);
        let diff = answer["diff"].as_str().unwrap_or("");
        output::print(args.output.output, &answer, || diff.to_owned())?;
        Ok(ExitCode::from(u8::from(!diff.is_empty())))
    })
}
