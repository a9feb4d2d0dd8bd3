//! ratings: stars, held in memory, settable by POST. The faulty versions are those of the
//! original: `v-faulty` fails half of the requests, `v-delayed` delays half of them by 7 s,
//! `v-unavailable` answers 503 every other minute, `v-unhealthy` does so and says so in its
//! health check. v2 of the original has a database; ours plays it from memory and, like the
//! original, takes no POST.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::books;
use crate::options::Options;
use crate::reply::{self, Reply};
use crate::server::{self, Stop};

const VERSIONS: &[&str] = &[
    "v1",
    "v2",
    "v-faulty",
    "v-delayed",
    "v-unavailable",
    "v-unhealthy",
];
/// Products whose ratings are kept; bounds what POST can store.
const MAX_PRODUCTS: usize = 1000;
const DELAY: Duration = Duration::from_secs(7);
/// `v-unavailable` changes between up and down after each of these.
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Healthy,
    ReadOnly,
    Faulty,
    Delayed,
    Unavailable { reported: bool },
}

struct Ratings {
    behaviour: Behaviour,
    begun: Instant,
    posted: Mutex<BTreeMap<i64, Value>>,
    pod: String,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let listener = server::listen(options.address, options.port(9080)?)?;
    serve(&options, listener, server::stop_on_signals()?).await
}

pub(crate) async fn serve(options: &Options, listener: TcpListener, stop: Stop) -> Result<()> {
    for name in ["DB_TYPE", "MONGO_DB_URL"] {
        if options.env.get(name).is_some() {
            tracing::warn!(
                "{name} has no effect: this sample has no database, its ratings are in memory"
            );
        }
    }
    let behaviour = match options.version(VERSIONS)?.as_str() {
        "v2" => Behaviour::ReadOnly,
        "v-faulty" => Behaviour::Faulty,
        "v-delayed" => Behaviour::Delayed,
        "v-unavailable" => Behaviour::Unavailable { reported: false },
        "v-unhealthy" => Behaviour::Unavailable { reported: true },
        _ => Behaviour::Healthy,
    };
    let ratings = Arc::new(Ratings {
        behaviour,
        begun: Instant::now(),
        posted: Mutex::default(),
        pod: options.env.pod(),
    });
    server::serve(listener, stop, move |request| {
        let ratings = ratings.clone();
        async move { reply::served_by(ratings.answer(request).await, &ratings.pod, None) }
    })
    .await;
    Ok(())
}

impl Ratings {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if path == "/health" {
            return self.health();
        }
        let Some(id) = path.strip_prefix("/ratings/") else {
            return reply::not_found();
        };
        let Ok(id) = id.parse::<i64>() else {
            return reply::error(StatusCode::BAD_REQUEST, "please provide numeric product ID");
        };
        if request.method() == Method::POST {
            return self.post(id, request).await;
        }
        if !reply::is_get(request.method()) {
            return reply::method_not_allowed();
        }
        match self.behaviour {
            Behaviour::Faulty if fastrand::bool() => {
                return reply::error(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable");
            }
            Behaviour::Delayed if fastrand::bool() => tokio::time::sleep(DELAY).await,
            Behaviour::Unavailable { .. } if self.is_down() => {
                return reply::error(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable");
            }
            _ => {}
        }
        reply::json(StatusCode::OK, &self.get(id))
    }

    fn health(&self) -> Reply {
        if self.behaviour == (Behaviour::Unavailable { reported: true }) && self.is_down() {
            return reply::json(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "status": "Ratings is not healthy" }),
            );
        }
        reply::json(StatusCode::OK, &json!({ "status": "Ratings is healthy" }))
    }

    fn is_down(&self) -> bool {
        (self.begun.elapsed().as_secs() / PERIOD.as_secs()) % 2 == 1
    }

    fn get(&self, id: i64) -> Value {
        let posted = self.posted.lock().unwrap_or_else(|e| e.into_inner());
        match posted.get(&id) {
            Some(ratings) => json!({ "id": id, "ratings": ratings }),
            None => books::ratings(id),
        }
    }

    async fn post(&self, id: i64, request: Request<Incoming>) -> Reply {
        if self.behaviour == Behaviour::ReadOnly {
            return reply::error(
                StatusCode::NOT_IMPLEMENTED,
                "Post not implemented for database backed ratings",
            );
        }
        let body = match reply::read_body(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Ok(ratings) = serde_json::from_slice::<Value>(&body) else {
            return reply::error(StatusCode::BAD_REQUEST, "please provide valid ratings JSON");
        };
        {
            let mut posted = self.posted.lock().unwrap_or_else(|e| e.into_inner());
            if posted.len() >= MAX_PRODUCTS && !posted.contains_key(&id) {
                return reply::error(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "ratings of 1000 products are stored already",
                );
            }
            posted.insert(id, ratings);
        }
        reply::json(StatusCode::OK, &self.get(id))
    }
}
