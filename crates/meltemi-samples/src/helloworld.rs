//! helloworld: says its version and instance; the smallest service to route between.

use std::sync::Arc;

use anyhow::Result;
use http::StatusCode;

use crate::options::Options;
use crate::{reply, server};

pub(crate) async fn run(options: Options) -> Result<()> {
    let version = options.version(&["v1", "v2"])?;
    let greeting: Arc<str> = format!(
        "Hello version: {version}, instance: {}\n",
        options.env.pod()
    )
    .into();
    let listener = server::listen(options.address, options.port(5000)?)?;
    server::serve(listener, server::stop_on_signals()?, move |request| {
        let greeting = greeting.clone();
        async move {
            match request.uri().path() {
                "/hello" => reply::plain(StatusCode::OK, greeting.to_string()),
                "/health" => reply::plain(StatusCode::OK, "Helloworld is healthy"),
                _ => reply::not_found(),
            }
        }
    })
    .await;
    Ok(())
}
