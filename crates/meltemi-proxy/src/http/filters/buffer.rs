//! Buffering (`envoy.filters.http.buffer`): a request goes on once all of it is here, with its
//! length; one that is too long is answered with 413.

use super::{Call, Filter};
use crate::compile::any::Typed;
use crate::compile::pb::filters::http::buffer::v3 as proto;
use crate::compile::{At, Cx, Error, Result as Compiled};
use crate::http::reply::Reply;
use crate::http::source::ReadError;
use crate::http::timeouts::{Expired, Watchdog};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use std::pin::pin;

pub struct Buffer {
    /// Bytes that a request's body may have.
    limit: u64,
}

pub enum RouteBuffer {
    Disabled,
    Limit(Buffer),
}

impl Filter for Buffer {
    const CONFIG: &'static str = "envoy.extensions.filters.http.buffer.v3.Buffer";
    const ROUTE_CONFIG: &'static str = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute";
    type Route = RouteBuffer;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        typed.decode().and_then(compile)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<RouteBuffer> {
        use proto::buffer_per_route::Override;
        let proto::BufferPerRoute { r#override } = typed.decode()?;
        match r#override {
            Some(Override::Disabled(true)) => Ok(RouteBuffer::Disabled),
            Some(Override::Buffer(value)) => compile(value).at("buffer").map(RouteBuffer::Limit),
            Some(Override::Disabled(false)) | None => Err(Error::missing("buffer")),
        }
    }

    async fn request(&self, route: Option<&RouteBuffer>, call: &mut Call<'_>) -> Result<(), Reply> {
        let limit = match route {
            Some(RouteBuffer::Disabled) => return Ok(()),
            Some(RouteBuffer::Limit(own)) => own.limit,
            None => self.limit,
        };
        if call.body.is_end_stream() {
            return Ok(());
        }
        let record = &call.exchange.record;
        call.exchange.note_head(call.head, false);
        let timeouts = &call.exchange.downstream.manager.timeouts;
        let started = record.info.borrow().started;
        let mut watchdog = Watchdog::of_request(timeouts, started);
        let read = watchdog
            .guard(record, pin!(call.body.read(record, limit)))
            .await;
        match read {
            Ok(Ok(())) => {}
            Ok(Err(ReadError::TooLong)) => return Err(Reply::payload_too_large()),
            Ok(Err(ReadError::Broken)) => return Err(Reply::client_gone()),
            Err(Expired::Request) => return Err(Reply::request_timeout()),
            Err(Expired::MaxStream) => return Err(Reply::max_stream_duration(false)),
            Err(_) => return Err(Reply::stream_idle(false)),
        }
        if let Some(length) = call.body.length() {
            let headers = &mut call.head.headers;
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(())
    }
}

fn compile(value: proto::Buffer) -> Compiled<Buffer> {
    let proto::Buffer { max_request_bytes } = value;
    match max_request_bytes.map(|value| value.value) {
        None | Some(0) => Err(Error::missing("max_request_bytes")),
        Some(limit) => Ok(Buffer {
            limit: limit.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::http::filters::testkit::{Bench, filter, typed};
    use crate::http::testkit::{request, run};
    use crate::telemetry::Flags;
    use serde_json::{Value, json};

    fn bench(route: Value) -> Bench {
        let config = json!({ "max_request_bytes": 8 });
        Bench::new(json!([filter("b", "buffer.v3.Buffer", config)]), route).unwrap()
    }

    #[test]
    fn what_is_short_enough_goes_on_with_its_length() {
        run(async {
            let outcome = bench(json!({}))
                .send(request("POST", "/"), "8 bytes!")
                .await;
            assert_eq!(outcome.passed_header("content-length"), Some("8"));
            let outcome = bench(json!({})).send(request("GET", "/"), "").await;
            assert_eq!(outcome.passed_header("content-length"), None);
        });
    }

    #[test]
    fn what_is_too_long_is_413() {
        run(async {
            let outcome = bench(json!({}))
                .send(request("POST", "/"), "9 bytes !")
                .await;
            assert_eq!((outcome.status, &*outcome.body), (413, "Payload Too Large"));
            assert_eq!(outcome.details, "request_payload_too_large");
            assert_eq!(outcome.flags, Flags::default());
        });
    }

    #[test]
    fn a_route_has_another_bound_or_none() {
        run(async {
            let own = |fields| json!({ "typed_per_filter_config": { "b": typed("buffer.v3.BufferPerRoute", fields) } });
            let wider = bench(own(json!({ "buffer": { "max_request_bytes": 9 } })));
            let outcome = wider.send(request("POST", "/"), "9 bytes !").await;
            assert_eq!(outcome.passed_header("content-length"), Some("9"));
            let off = bench(own(json!({ "disabled": true })));
            let outcome = off.send(request("POST", "/"), "9 bytes !").await;
            assert_eq!(outcome.passed_header("content-length"), None);
        });
    }
}
