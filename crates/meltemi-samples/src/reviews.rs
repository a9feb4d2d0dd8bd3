//! reviews: v1 shows no stars and does not call ratings, v2 shows black ones, v3 red ones.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::books;
use crate::client::Client;
use crate::forward;
use crate::options::Options;
use crate::reply::{self, Reply};
use crate::server::{self, Stop};

struct Reviews {
    client: Client,
    ratings_url: String,
    /// The stars' colour; `None`: no stars, ratings is not called.
    stars: Option<String>,
    pod: String,
    cluster: Option<String>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let listener = server::listen(options.address, options.port(9080)?)?;
    serve(&options, listener, server::stop_on_signals()?).await
}

pub(crate) async fn serve(options: &Options, listener: TcpListener, stop: Stop) -> Result<()> {
    let env = &options.env;
    let version = options.version(&["v1", "v2", "v3"])?;
    let enabled = match env.get("ENABLE_RATINGS") {
        Some(value) => value.eq_ignore_ascii_case("true"),
        None => version != "v1",
    };
    let color = env
        .get("STAR_COLOR")
        .unwrap_or(if version == "v3" { "red" } else { "black" });
    let reviews = Arc::new(Reviews {
        client: Client::new(),
        ratings_url: env.service_url("ratings"),
        stars: enabled.then(|| color.to_string()),
        pod: env.pod(),
        cluster: env.get("CLUSTER_NAME").map(str::to_string),
    });
    server::serve(listener, stop, move |request| {
        let reviews = reviews.clone();
        async move { reviews.answer(request).await }
    })
    .await;
    Ok(())
}

impl Reviews {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        if !reply::is_get(request.method()) {
            return reply::method_not_allowed();
        }
        let path = request.uri().path();
        if path == "/health" {
            return reply::json(StatusCode::OK, &json!({ "status": "Reviews is healthy" }));
        }
        let Some(Ok(id)) = path.strip_prefix("/reviews/").map(str::parse::<i64>) else {
            return reply::not_found();
        };
        let (ratings, upstream) = match &self.stars {
            Some(_) => self.ratings(id, &request).await,
            None => (Value::Null, None),
        };
        let reviews: Vec<Value> = books::REVIEWS
            .iter()
            .map(|review| self.review(review, &ratings))
            .collect();
        // The id is a string and an unset cluster the string "null", as in the original.
        let body = json!({
            "id": id.to_string(),
            "podname": self.pod,
            "clustername": self.cluster.as_deref().unwrap_or("null"),
            "reviews": reviews,
        });
        reply::served_by(
            reply::json(StatusCode::OK, &body),
            &self.pod,
            upstream.as_deref(),
        )
    }

    fn review(&self, (reviewer, text): &(&str, &str), ratings: &Value) -> Value {
        let mut review = json!({ "reviewer": reviewer, "text": text });
        if let Some(color) = &self.stars {
            review["rating"] = match ratings.get(*reviewer).and_then(Value::as_i64) {
                Some(stars) => json!({ "stars": stars, "color": color }),
                None => json!({ "error": "Ratings service is currently unavailable" }),
            };
        }
        review
    }

    /// The ratings by reviewer, null when they cannot be had, and who answered.
    async fn ratings(&self, id: i64, request: &Request<Incoming>) -> (Value, Option<String>) {
        // The original's limits: the black-starred version waits longer than productpage
        // does, which the fault-injection task of Istio's documentation relies on.
        let black = self.stars.as_deref() == Some("black");
        let limit = if black {
            Duration::from_secs(10)
        } else {
            Duration::from_millis(2500)
        };
        let url = format!("{}/ratings/{id}", self.ratings_url);
        match self
            .client
            .get(&url, &forward::headers_and_user(request.headers()), limit)
            .await
        {
            Ok(answer) if answer.status == StatusCode::OK => {
                let ratings = answer
                    .json
                    .and_then(|mut body| Some(body.get_mut("ratings")?.take()))
                    .unwrap_or_default();
                (ratings, answer.served_by)
            }
            Ok(answer) => {
                tracing::warn!("GET {url}: status {}", answer.status);
                (Value::Null, answer.served_by)
            }
            Err(e) => {
                tracing::warn!("{e:#}");
                (Value::Null, None)
            }
        }
    }
}
