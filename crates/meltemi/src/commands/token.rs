//! `meltemi token create|list|delete`: join tokens.

use super::{Outcome, block_on, duration};
use crate::client::Client;
use crate::mesh::ApiArgs;
use crate::output::{self, Format, OutputArgs, age, table};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a token with which one proxy gets its first certificate
    Create(CreateArgs),
    /// Show the tokens there are, without their secrets
    List(ListArgs),
    /// Withdraw a token
    Delete(DeleteArgs),
}

#[derive(clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    mesh: ApiArgs,
    /// Service account of the workload that joins
    #[arg(long, default_value = "default", value_name = "NAME")]
    service_account: String,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// How long it can be used
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "DURATION")]
    ttl: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    mesh: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    mesh: ApiArgs,
    /// ID, as `list` shows it
    id: String,
}

#[derive(Deserialize, Serialize)]
struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Deserialize, Serialize)]
struct Token {
    id: String,
    namespace: String,
    service_account: String,
    /// Seconds after 1970.
    expires: i64,
    used: Option<i64>,
}

pub fn run(args: Args) -> Outcome {
    block_on(async {
        match args.command {
            Command::Create(args) => create(&args.mesh.find()?, &args).await?,
            Command::List(args) => {
                let tokens: Tokens = args.mesh.find()?.get("/v1/tokens").await?;
                output::print(args.output.output, &tokens, || text(&tokens.tokens))?;
            }
            Command::Delete(DeleteArgs { mesh, id }) => {
                let path = format!("/v1/tokens/{}", super::get::encode(&id));
                let _: Value = mesh
                    .find()?
                    .json(Method::DELETE, &path, String::new())
                    .await?;
                output::write(&format!("token {id} deleted\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the token alone, to be redirected into a file.
async fn create(api: &Client, args: &CreateArgs) -> anyhow::Result<()> {
    let wanted = json!({
        "namespace": args.namespace,
        "service_account": args.service_account,
        "ttl_seconds": args.ttl.as_secs(),
    });
    let answer: Value = api
        .json(Method::POST, "/v1/tokens", wanted.to_string())
        .await?;
    let token = answer["token"].as_str().unwrap_or_default();
    if args.output.output == Format::Text {
        eprintln!(
            "good once within {} for service account {} in namespace {}",
            age(i64::try_from(args.ttl.as_secs()).unwrap_or(i64::MAX)),
            args.service_account,
            args.namespace
        );
    }
    output::print(args.output.output, &answer, || format!("{token}\n"))
}

fn text(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no join tokens\n".to_owned();
    }
    let now = jiff::Timestamp::now().as_second();
    let row = |token: &Token| {
        let state = match token.used {
            Some(used) => format!("used {} ago", age(now - used)),
            None if token.expires <= now => "expired".to_owned(),
            None => format!("{} left", age(token.expires - now)),
        };
        vec![
            token.id.clone(),
            token.namespace.clone(),
            token.service_account.clone(),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
    table(&["ID", "NAMESPACE", "SERVICE ACCOUNT", "STATE"], &rows)
}
