//! A subset of httpbin with the JSON of go-httpbin (the image in Istio's samples): headers
//! and arguments as lists, header names in their canonical case.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::options::Options;
use crate::reply::{self, Reply};
use crate::server::{self, Stop};
use crate::websocket;

const MAX_BYTES: usize = 1 << 20;
/// go-httpbin's limit of `/delay`.
const MAX_DELAY: Duration = Duration::from_secs(10);

pub(crate) async fn run(options: Options) -> Result<()> {
    let listener = server::listen(options.address, options.port(8080)?)?;
    serve(options.env.pod(), listener, server::stop_on_signals()?).await;
    Ok(())
}

pub(crate) async fn serve(pod: String, listener: TcpListener, stop: Stop) {
    let pod: Arc<str> = pod.into();
    server::serve(listener, stop, move |request| {
        let pod = pod.clone();
        async move { answer(request, &pod).await }
    })
    .await;
}

async fn answer(request: Request<Incoming>, pod: &str) -> Reply {
    let path = request.uri().path().to_string();
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    match first {
        "" => reply::plain(
            StatusCode::OK,
            "/status/N /headers /get /post /anything /delay/N /bytes/N /hostname /ws\n",
        ),
        "health" => reply::plain(StatusCode::OK, "OK"),
        "hostname" => reply::json(StatusCode::OK, &json!({ "hostname": pod })),
        "headers" => reply::json(StatusCode::OK, &json!({ "headers": headers(&request) })),
        "user-agent" => {
            let agent = request
                .headers()
                .get("user-agent")
                .map(|v| String::from_utf8_lossy(v.as_bytes()));
            reply::json(StatusCode::OK, &json!({ "user-agent": agent }))
        }
        "ws" | "websocket" => websocket::upgrade(request),
        "status" => status(rest),
        "bytes" => match rest.parse() {
            Ok(n) if n <= MAX_BYTES => bytes(n),
            _ => reply::error(StatusCode::BAD_REQUEST, "bytes: 0 to 1048576"),
        },
        "delay" => match rest.parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(delay)) if delay <= MAX_DELAY => {
                tokio::time::sleep(delay).await;
                echo(request, false).await
            }
            _ => reply::error(StatusCode::BAD_REQUEST, "delay: 0 to 10 seconds"),
        },
        "anything" => echo(request, true).await,
        "get" | "post" | "put" | "patch" | "delete" => {
            let expected = first.to_ascii_uppercase();
            let method = request.method().as_str();
            if method != expected && !(expected == "GET" && method == "HEAD") {
                return reply::method_not_allowed();
            }
            echo(request, expected != "GET").await
        }
        _ => reply::not_found(),
    }
}

fn status(code: &str) -> Reply {
    match code
        .parse()
        .ok()
        .and_then(|code: u16| StatusCode::from_u16(code).ok())
    {
        // An interim status is no answer.
        Some(status) if status.as_u16() >= 200 => reply::plain(status, ""),
        _ => reply::error(StatusCode::BAD_REQUEST, "status: 200 to 999"),
    }
}

/// Pseudo-random, the same for the same length, so that two answers can be compared.
fn bytes(n: usize) -> Reply {
    let mut body = vec![0; n];
    fastrand::Rng::with_seed(n as u64).fill(&mut body);
    reply::text(StatusCode::OK, "application/octet-stream", body)
}

/// The request as JSON, with the body where `with_body`.
async fn echo(request: Request<Incoming>, with_body: bool) -> Reply {
    let host = request.headers().get(HOST).and_then(|v| v.to_str().ok());
    let host = host
        .or_else(|| request.uri().authority().map(|a| a.as_str()))
        .unwrap_or("localhost");
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let mut out = json!({
        "args": args(request.uri().query().unwrap_or_default()),
        "headers": headers(&request),
        "method": request.method().as_str(),
        "url": format!("http://{host}{path}"),
    });
    if with_body {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let body = match reply::read_body(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let is_form = kind.is_some_and(|k| {
            k.as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
        });
        out["form"] = if is_form {
            args(&String::from_utf8_lossy(&body))
        } else {
            json!({})
        };
        out["json"] = serde_json::from_slice(&body).unwrap_or_default();
        out["data"] = text(&body);
    }
    reply::json(StatusCode::OK, &out)
}

fn text(body: &Bytes) -> Value {
    String::from_utf8_lossy(body).into()
}

fn args(query: &str) -> Value {
    let mut out = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        push(&mut out, decode(name), decode(value));
    }
    Value::Object(out)
}

fn headers(request: &Request<Incoming>) -> Value {
    let mut out = Map::new();
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
    {
        push(&mut out, "Host".to_string(), authority.to_string());
    }
    for (name, value) in canonical(request.headers()) {
        push(&mut out, name, value);
    }
    Value::Object(out)
}

/// `x-request-id` as `X-Request-Id`, as Go shows it.
fn canonical(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| {
        let mut begins = true;
        let name = name.as_str().chars().map(|c| {
            let c = if begins { c.to_ascii_uppercase() } else { c };
            begins = c == '-';
            c
        });
        (
            name.collect(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    })
}

fn push(map: &mut Map<String, Value>, name: String, value: String) {
    if let Value::Array(values) = map.entry(name).or_insert_with(|| json!([])) {
        values.push(value.into());
    }
}
