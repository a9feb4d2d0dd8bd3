//! details: the book's facts. v2 of the original asks an API on the Internet; ours plays v2
//! with the same local facts, since what it demonstrates is the routing to it.

use std::sync::Arc;

use anyhow::{Result, bail};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;

use crate::books;
use crate::options::Options;
use crate::reply::{self, Reply};
use crate::server::{self, Stop};

pub(crate) async fn run(options: Options) -> Result<()> {
    let listener = server::listen(options.address, options.port(9080)?)?;
    serve(&options, listener, server::stop_on_signals()?).await
}

pub(crate) async fn serve(options: &Options, listener: TcpListener, stop: Stop) -> Result<()> {
    options.version(&["v1", "v2"])?;
    if options.env.get("ENABLE_EXTERNAL_BOOK_SERVICE") == Some("true") {
        bail!(
            "ENABLE_EXTERNAL_BOOK_SERVICE is not supported: this sample has no external book service"
        );
    }
    let pod: Arc<str> = options.env.pod().into();
    server::serve(listener, stop, move |request| {
        let pod = pod.clone();
        async move { reply::served_by(answer(&request), &pod, None) }
    })
    .await;
    Ok(())
}

fn answer(request: &Request<Incoming>) -> Reply {
    if !reply::is_get(request.method()) {
        return reply::method_not_allowed();
    }
    let path = request.uri().path();
    match path.strip_prefix("/details") {
        _ if path == "/health" => {
            reply::json(StatusCode::OK, &json!({ "status": "Details is healthy" }))
        }
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            match rest.rsplit('/').next().unwrap_or_default().parse() {
                Ok(id) => reply::json(StatusCode::OK, &books::details(id)),
                Err(_) => {
                    reply::error(StatusCode::BAD_REQUEST, "please provide numeric product id")
                }
            }
        }
        _ => reply::not_found(),
    }
}
