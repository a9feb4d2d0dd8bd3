//! `meltemi sample NAME ...`: the sample services, started by a local mesh.

use super::{Outcome, block_on, log_to_stderr};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// Sample service
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(meltemi_samples::NAMES))]
    name: String,
    /// Arguments of the sample
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        help = format!("{} of the sample", meltemi_samples::USAGE)
    )]
    args: Vec<String>,
}

pub fn run(args: Args) -> Outcome {
    log_to_stderr("info");
    block_on(async move {
        meltemi_samples::run(&args.name, &args.args).await?;
        Ok(ExitCode::SUCCESS)
    })
}
