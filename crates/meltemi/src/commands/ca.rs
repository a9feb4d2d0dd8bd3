//! `meltemi ca status|root|rotate`: the mesh's certificate authority.

use super::{Outcome, block_on};
use crate::mesh::ApiArgs;
use crate::output::{self, OutputArgs, age, table};
use hyper::Method;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show the trusted roots, and how far a rotation is
    Status(StatusArgs),
    /// Print the trusted roots, PEM
    Root(MeshOnly),
    /// Replace the root by a new one, step by step, while certificates are renewed
    Rotate(StatusArgs),
}

#[derive(clap::Args)]
struct MeshOnly {
    #[command(flatten)]
    mesh: ApiArgs,
}

#[derive(clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    mesh: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize, Serialize)]
struct State {
    roots: Vec<Root>,
    /// Seconds after 1970.
    next_step: Option<i64>,
    pem: String,
}

#[derive(Deserialize, Serialize)]
struct Root {
    role: Role,
    fingerprint: String,
    not_after: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Signing,
    Next,
    Former,
    Trusted,
}

pub fn run(args: Args) -> Outcome {
    block_on(async {
        match args.command {
            Command::Status(StatusArgs { mesh, output }) => {
                let state: State = mesh.find()?.get("/v1/ca").await?;
                output::print(output.output, &state, || text(&state))?;
            }
            Command::Root(MeshOnly { mesh }) => {
                let state: State = mesh.find()?.get("/v1/ca").await?;
                output::write(&state.pem)?;
            }
            Command::Rotate(StatusArgs { mesh, output }) => {
                let api = mesh.find()?;
                let state: State = api
                    .json(Method::POST, "/v1/ca/rotate", String::new())
                    .await?;
                output::print(output.output, &state, || text(&state))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn text(state: &State) -> String {
    let now = jiff::Timestamp::now().as_second();
    let rows: Vec<Vec<String>> = state
        .roots
        .iter()
        .map(|root| {
            let role = match root.role {
                Role::Signing => "signs",
                Role::Next => "trusted, signs next",
                Role::Former => "trusted, signed before",
                Role::Trusted => "trusted",
            };
            let left = age(root.not_after - now);
            vec![root.fingerprint.clone(), role.to_owned(), left]
        })
        .collect();
    let mut text = table(&["ROOT (SHA-256)", "STATE", "ENDS IN"], &rows);
    if let Some(at) = state.next_step {
        let next = if state.roots.iter().any(|root| root.role == Role::Next) {
            "the new root signs"
        } else {
            "the former root is dropped"
        };
        text.push_str(&format!(
            "\n{next} in {}, when the last certificate issued before has ended\n",
            age((at - now).max(0))
        ));
    }
    text
}
