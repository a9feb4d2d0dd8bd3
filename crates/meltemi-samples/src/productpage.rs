//! productpage: asks details and reviews and shows what they say, or that they did not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HeaderMap, HeaderValue, LOCATION, REFERER, SET_COOKIE};
use http::{Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use percent_encoding::percent_decode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::metrics::Metrics;
use crate::options::{Env, Options};
use crate::page::{self, Outcome, Page};
use crate::reply::{self, Reply};
use crate::server::{self, Stop};
use crate::{books, forward};

/// Limit of every call, as in the original.
const LIMIT: Duration = Duration::from_secs(3);
/// The original tries reviews twice; with the limit above this makes the fault-injection
/// task of Istio's documentation come out as it describes.
const REVIEWS_TRIES: usize = 2;
const MAX_USER: usize = 64;

struct ProductPage {
    client: Client,
    details: String,
    reviews: String,
    ratings: String,
    pod: String,
    metrics: Metrics,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let listener = server::listen(options.address, options.port(9080)?)?;
    options.version(&["v1"])?;
    serve(&options.env, listener, server::stop_on_signals()?).await;
    Ok(())
}

pub(crate) async fn serve(env: &Env, listener: TcpListener, stop: Stop) {
    let app = Arc::new(ProductPage {
        client: Client::new(),
        details: env.service_url("details"),
        reviews: env.service_url("reviews"),
        ratings: env.service_url("ratings"),
        pod: env.pod(),
        metrics: Metrics::default(),
    });
    server::serve(listener, stop, move |request| {
        let app = app.clone();
        async move { app.answer(request).await }
    })
    .await;
}

impl ProductPage {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_string();
        if path == "/login" {
            return match *request.method() {
                Method::POST => login(request).await,
                _ => reply::method_not_allowed(),
            };
        }
        if !reply::is_get(request.method()) {
            return reply::method_not_allowed();
        }
        let headers = request.headers();
        match path.as_str() {
            "/" | "/index.html" => html(page::index(session(headers).as_deref())),
            "/productpage" => self.page(headers).await,
            "/logout" => redirect(
                headers,
                "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
            ),
            "/health" => reply::plain(StatusCode::OK, "Product page is healthy"),
            "/metrics" => reply::text(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                self.metrics.text(),
            ),
            "/static/bookinfo.css" => {
                reply::text(StatusCode::OK, "text/css; charset=utf-8", page::CSS)
            }
            "/api/v1/products" => reply::json(StatusCode::OK, &books::products()),
            _ => match path.strip_prefix("/api/v1/products/") {
                Some(rest) => self.product(rest, headers).await,
                None => reply::not_found(),
            },
        }
    }

    /// `/api/v1/products/ID[/reviews|/ratings]`: the service's answer with its status.
    async fn product(&self, rest: &str, headers: &HeaderMap) -> Reply {
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        let Ok(id) = id.parse() else {
            return reply::not_found();
        };
        let outcome = match part {
            "" => self.details(id, headers).await,
            "reviews" => self.reviews(id, headers).await,
            "ratings" => self.ratings(id, headers).await,
            _ => return reply::not_found(),
        };
        let answer = reply::json(outcome.status, &outcome.body);
        reply::served_by(answer, &self.pod, outcome.served_by.as_deref())
    }

    async fn page(&self, headers: &HeaderMap) -> Reply {
        let user = session(headers);
        let (details, reviews) = tokio::join!(self.details(0, headers), self.reviews(0, headers));
        let page = Page {
            user: user.as_deref(),
            details: &details,
            reviews: &reviews,
            pod: &self.pod,
        };
        html(page.render())
    }

    async fn details(&self, id: i64, headers: &HeaderMap) -> Outcome {
        self.call("details", format!("{}/details/{id}", self.details), headers)
            .await
    }

    async fn ratings(&self, id: i64, headers: &HeaderMap) -> Outcome {
        self.call("ratings", format!("{}/ratings/{id}", self.ratings), headers)
            .await
    }

    async fn reviews(&self, id: i64, headers: &HeaderMap) -> Outcome {
        let url = format!("{}/reviews/{id}", self.reviews);
        let mut outcome = self.call("reviews", url.clone(), headers).await;
        for _ in 1..REVIEWS_TRIES {
            if outcome.status == StatusCode::OK {
                break;
            }
            outcome = self.call("reviews", url.clone(), headers).await;
        }
        outcome
    }

    async fn call(&self, service: &'static str, url: String, headers: &HeaderMap) -> Outcome {
        let answer = self.client.get(&url, &forwarded(headers), LIMIT).await;
        let outcome = match answer {
            Ok(answer) => match answer.json {
                Some(body) if answer.status == StatusCode::OK => Outcome {
                    status: answer.status,
                    body,
                    served_by: answer.served_by,
                },
                _ => unavailable(service, answer.status, answer.served_by),
            },
            Err(e) => {
                tracing::warn!("{e:#}");
                unavailable(service, StatusCode::INTERNAL_SERVER_ERROR, None)
            }
        };
        self.metrics.count(service, outcome.status.as_u16());
        outcome
    }
}

fn unavailable(service: &str, status: StatusCode, served_by: Option<String>) -> Outcome {
    // An answer that was no JSON is an error, whatever its status said.
    let status = if status == StatusCode::OK {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        status
    };
    let body = json!({ "error": format!("Sorry, product {service} are currently unavailable for this book.") });
    Outcome {
        status,
        body,
        served_by,
    }
}

/// The headers handed on, with the session's user as `end-user`.
fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut out = forward::headers(headers);
    if let Some(user) = session(headers).and_then(|user| HeaderValue::from_str(&user).ok()) {
        out.insert(forward::END_USER, user);
    }
    out
}

fn html(body: String) -> Reply {
    reply::text(StatusCode::OK, "text/html; charset=utf-8", body)
}

/// A user's name: printable ASCII, since it travels in a header.
fn is_user(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_USER && name.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// The user of the session cookie. Nothing is protected by it (a login asks for no
/// password), so the cookie is encoded but not signed.
fn session(headers: &HeaderMap) -> Option<String> {
    let cookies = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).map(str::trim);
    let value = pairs.find_map(|pair| pair.strip_prefix("session="))?;
    let user = String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
    is_user(&user).then_some(user)
}

async fn login(request: Request<Incoming>) -> Reply {
    let headers = request.headers().clone();
    let body = match reply::read_body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let field = body
        .split(|b| *b == b'&')
        .find_map(|pair| pair.strip_prefix(b"username="));
    let spaced: Vec<u8> = field
        .unwrap_or_default()
        .iter()
        .map(|b| if *b == b'+' { b' ' } else { *b })
        .collect();
    let user = percent_decode(&spaced).decode_utf8_lossy().into_owned();
    if !is_user(&user) {
        let message = "please provide username: 1 to 64 printable ASCII characters\n";
        return reply::plain(StatusCode::BAD_REQUEST, message);
    }
    let session = URL_SAFE_NO_PAD.encode(user);
    redirect(
        &headers,
        &format!("session={session}; Path=/; HttpOnly; SameSite=Lax"),
    )
}

/// Back to the page the form was on, on this host only: a Referer must not lead elsewhere.
fn redirect(headers: &HeaderMap, cookie: &str) -> Reply {
    let referer = headers
        .get(REFERER)
        .and_then(|v| v.to_str().ok()?.parse::<Uri>().ok());
    let path = referer
        .as_ref()
        .and_then(Uri::path_and_query)
        .map(|p| p.as_str());
    let path = path
        .filter(|p| p.starts_with('/') && !p.starts_with("//"))
        .unwrap_or("/productpage");
    let mut answer = reply::plain(StatusCode::FOUND, "");
    for (name, value) in [(LOCATION, path), (SET_COOKIE, cookie)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_session_names_the_user_and_becomes_end_user() {
        let jason = with(
            COOKIE,
            &format!("a=b; session={}", URL_SAFE_NO_PAD.encode("jason")),
        );
        assert_eq!(session(&jason).as_deref(), Some("jason"));
        assert_eq!(forwarded(&jason)["end-user"], "jason");
        let forged = with(
            COOKIE,
            &format!("session={}", URL_SAFE_NO_PAD.encode("a\r\nb: c")),
        );
        assert_eq!(session(&forged), None);
        assert!(!forwarded(&with(forward::END_USER, "root")).contains_key("end-user"));
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        let to = |referer: &str| {
            redirect(&with(REFERER, referer), "session=").headers()[LOCATION].clone()
        };
        assert_eq!(
            to("http://127.0.0.1:8080/productpage?u=normal"),
            "/productpage?u=normal"
        );
        assert_eq!(to("http://evil.test//other.test/x"), "/productpage");
    }
}
