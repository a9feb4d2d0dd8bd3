//! The HTTP contract, tested over sockets: the services as they are, talking to each other.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::options::{Env, Options};
use crate::{details, httpbin, productpage, ratings, reviews, tcp_echo};

/// Services running in this process until it is dropped.
struct Bookinfo {
    stop: watch::Sender<bool>,
    services: JoinSet<()>,
    env: Vec<(String, String)>,
}

impl Bookinfo {
    fn new() -> Bookinfo {
        let (stop, _) = watch::channel(false);
        Bookinfo {
            stop,
            services: JoinSet::new(),
            env: Vec::new(),
        }
    }

    /// Starts a service and lets those started later find it.
    async fn start(&mut self, name: &'static str, version: &str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pod = format!("{name}-{version}-0");
        let mut env: Vec<(&str, &str)> = self
            .env
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        env.push(("HOSTNAME", &pod));
        let options = Options::parse(&["--version".into(), version.into()], Env::of(&env)).unwrap();
        let stop = self.stop.subscribe();
        self.services.spawn(async move {
            match name {
                "details" => details::serve(&options, listener, stop).await.unwrap(),
                "ratings" => ratings::serve(&options, listener, stop).await.unwrap(),
                "reviews" => reviews::serve(&options, listener, stop).await.unwrap(),
                "httpbin" => httpbin::serve(options.env.pod(), listener, stop).await,
                _ => productpage::serve(&options.env, listener, stop).await,
            }
        });
        self.find(name, address);
        address
    }

    fn find(&mut self, name: &str, address: SocketAddr) {
        let name = name.to_ascii_uppercase();
        self.env
            .push((format!("{name}_HOSTNAME"), address.ip().to_string()));
        self.env
            .push((format!("{name}_SERVICE_PORT"), address.port().to_string()));
    }
}

/// Sends one request as it stands and reads to the end: status, head, body.
async fn send(to: SocketAddr, request: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    let (head, more) = match request.split_once('\n') {
        Some((line, headers)) => (head.replacen(request, line, 1), format!("{headers}\r\n")),
        None => (head, String::new()),
    };
    stream
        .write_all(format!("{head}{more}\r\n{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        head.to_string(),
        body.to_string(),
    )
}

async fn get(to: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = send(to, &format!("GET {path}"), "").await;
    (status, body)
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn the_page_shows_what_each_version_of_reviews_says() {
    for (version, shown, absent) in [
        ("v1", "slapstick", "★"),
        ("v2", "stars black", "color:"),
        ("v3", "color:red", "stars black"),
    ] {
        let mut books = Bookinfo::new();
        books.start("details", "v1").await;
        books.start("ratings", "v1").await;
        books.start("reviews", version).await;
        let page = books.start("productpage", "v1").await;
        let (status, body) = get(page, "/productpage?u=normal").await;
        let (_, shown_part) = body.split_once("<main>").unwrap();
        assert_eq!(status, 200);
        assert!(
            shown_part.contains(shown) && !shown_part.contains(absent),
            "{version}: {shown_part}"
        );
        assert!(shown_part.contains(&format!(
            "Reviews served by: <code>reviews-{version}-0</code>"
        )));
        assert!(
            shown_part.contains("PublisherA") && shown_part.contains("<code>details-v1-0</code>")
        );
        assert_eq!(
            shown_part.contains("<code>ratings-v1-0</code>"),
            version != "v1"
        );
    }
}

#[tokio::test]
async fn a_missing_service_costs_its_part_of_the_page_only() {
    let mut books = Bookinfo::new();
    // A port that nobody listens on any more.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    books.find("details", gone);
    books.find("ratings", gone);
    books.start("reviews", "v2").await;
    let page = books.start("productpage", "v1").await;
    let (_, body) = get(page, "/productpage").await;
    assert!(
        body.contains("Error fetching product details!")
            && body.contains("Ratings service is currently unavailable")
    );
    assert!(body.contains("Sorry, product details are currently unavailable for this book."));
    let (status, body) = get(page, "/api/v1/products/0").await;
    assert_eq!(
        (status, &parsed(&body)["error"]),
        (
            500,
            &"Sorry, product details are currently unavailable for this book.".into()
        )
    );
    let (_, metrics) = get(page, "/metrics").await;
    assert!(
        metrics
            .contains("request_result_total{destination_app=\"details\",response_code=\"500\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_api_hands_through_the_services_answers() {
    let mut books = Bookinfo::new();
    books.start("details", "v1").await;
    let ratings = books.start("ratings", "v1").await;
    books.start("reviews", "v3").await;
    let page = books.start("productpage", "v1").await;
    assert_eq!(
        parsed(&get(page, "/api/v1/products").await.1)[0]["title"],
        "The Comedy of Errors"
    );
    assert_eq!(
        parsed(&get(page, "/api/v1/products/0").await.1)["ISBN-13"],
        "123-1234567890"
    );
    let reviews = parsed(&get(page, "/api/v1/products/0/reviews").await.1);
    assert_eq!(
        (&reviews["id"], &reviews["podname"], &reviews["clustername"]),
        (&"0".into(), &"reviews-v3-0".into(), &"null".into())
    );
    assert_eq!(
        reviews["reviews"][1]["rating"],
        serde_json::json!({ "stars": 4, "color": "red" })
    );
    let (status, _, body) = send(
        ratings,
        "POST /ratings/0",
        r#"{"Reviewer1":1,"Reviewer2":2}"#,
    )
    .await;
    assert_eq!(
        (status, parsed(&body)["ratings"]["Reviewer2"].as_i64()),
        (200, Some(2))
    );
    assert_eq!(
        parsed(&get(page, "/api/v1/products/0/ratings").await.1)["ratings"]["Reviewer1"],
        1
    );
    assert_eq!(send(ratings, "POST /ratings/0", "{").await.0, 400);
    assert_eq!(get(ratings, "/ratings/x").await.0, 400);
    assert_eq!(
        get(page, "/health").await,
        (200, "Product page is healthy".to_string())
    );
    assert_eq!(get(page, "/static/bookinfo.css").await.0, 200);
    assert_eq!(get(page, "/nothing").await.0, 404);
}

#[tokio::test]
async fn a_login_sets_the_session_and_returns_to_the_page() {
    let mut books = Bookinfo::new();
    books.start("details", "v1").await;
    books.start("reviews", "v1").await;
    let page = books.start("productpage", "v1").await;
    let form = "username=jason&passwd=x";
    let (status, head, _) = send(page, "POST /login\nreferer: http://test/productpage", form).await;
    assert_eq!(status, 302);
    let line = |name: &str| {
        head.lines()
            .find_map(|l| l.strip_prefix(name))
            .unwrap()
            .trim()
            .to_string()
    };
    assert_eq!(line("location:"), "/productpage");
    let cookie = line("set-cookie:").split(';').next().unwrap().to_string();
    let (_, _, body) = send(page, &format!("GET /productpage\ncookie: {cookie}"), "").await;
    assert!(body.contains("<span class=user>jason</span>"));
    assert_eq!(send(page, "POST /login", "username=").await.0, 400);
}

#[tokio::test]
async fn httpbin_answers_in_go_httpbins_shape_within_its_bounds() {
    let mut books = Bookinfo::new();
    let bin = books.start("httpbin", "v1").await;
    assert_eq!(get(bin, "/status/418").await.0, 418);
    assert_eq!(get(bin, "/status/100").await.0, 400);
    assert_eq!(get(bin, "/bytes/1000").await.0, 200);
    assert_eq!(get(bin, "/bytes/1048577").await.0, 400);
    assert_eq!(get(bin, "/delay/11").await.0, 400);
    let (_, _, body) = send(
        bin,
        "POST /anything?a=1&a=%20\nx-request-id: 7",
        "{\"b\":2}",
    )
    .await;
    let body = parsed(&body);
    assert_eq!(body["args"]["a"], serde_json::json!(["1", " "]));
    assert_eq!(
        (&body["headers"]["X-Request-Id"][0], &body["json"]["b"]),
        (&"7".into(), &2.into())
    );
    assert_eq!(get(bin, "/post").await.0, 405);
}

#[tokio::test]
async fn the_websocket_echoes() {
    use futures_util::{SinkExt, StreamExt};
    let mut books = Bookinfo::new();
    let bin = books.start("httpbin", "v1").await;
    let stream = TcpStream::connect(bin).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://test/ws", stream)
        .await
        .unwrap();
    socket.send("hello".into()).await.unwrap();
    assert_eq!(
        socket
            .next()
            .await
            .unwrap()
            .unwrap()
            .into_text()
            .unwrap()
            .as_str(),
        "hello"
    );
    assert_eq!(get(bin, "/ws").await.0, 426);
}

#[tokio::test]
async fn tcp_echo_prefixes_every_line() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(tcp_echo::serve(vec![listener], "one", stopped));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"a\nb\n").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"one a\none b\n");
    stop.send_replace(true);
    server.await.unwrap();
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_flight_and_closes_the_port() {
    let mut books = Bookinfo::new();
    let bin = books.start("httpbin", "v1").await;
    let mut stream = TcpStream::connect(bin).await.unwrap();
    // The head is complete, the body is not: the request is in flight.
    stream
        .write_all(
            b"POST /post HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    books.stop.send_replace(true);
    stream.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    books.services.join_next().await.unwrap().unwrap();
    assert!(TcpStream::connect(bin).await.is_err());
}
