//! `meltemi completion bash|zsh|fish`.

use super::Outcome;
use clap::CommandFactory;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// Shell to complete in
    shell: clap_complete::Shell,
}

pub fn run<C: CommandFactory>(args: Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "meltemi", &mut script);
    crate::output::write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
