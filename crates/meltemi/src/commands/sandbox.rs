//! `meltemi sandbox`: process 1 of a local mesh, started by `up`.

use super::Outcome;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// Inherited socket to the supervisor
    #[arg(long)]
    fd: i32,
}

pub fn run(args: Args) -> Outcome {
    let code = meltemi_local::sandbox::main(args.fd);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
