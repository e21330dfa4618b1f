//! `/metrics`, `/healthz` and `/readyz` over plain HTTP, for programs of whoever runs the server.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use qfs_core::store::Store;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::service::Service;

/// Connections at once: one for Prometheus, some for health checks. More wait.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection may last. Prometheus makes another.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);

/// OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A bound socket that nobody accepts from yet.
#[derive(Debug)]
pub(crate) struct BoundPage(TcpListener);

impl BoundPage {
    /// # Errors
    /// When the port is taken or not allowed.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers for as long as it is polled.
    pub(crate) async fn serve<S: Store>(self, service: Arc<Service<S>>) -> Infallible {
        let Ok(listener) = tokio::net::TcpListener::from_std(self.0) else { return std::future::pending().await };
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let service = Arc::clone(&service);
                        let answer = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&service, &request))));
                        let connection = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(HEAD)
                            .serve_connection(TokioIo::new(stream), answer);
                        connections.spawn(async { drop(timeout(PATIENCE, connection).await) });
                    }
                    // Descriptors ran out; some may be free again soon.
                    Err(_) => sleep(Duration::from_millis(50)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

fn answer<S: Store, B>(service: &Service<S>, request: &Request<B>) -> Response<Text> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match service.metrics.text(&service.levels()) {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n".to_owned()),
        },
        // It answers, so it lives.
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") if service.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n".to_owned())
        }
        (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
    };
    let mut response = Response::new(Text(Some(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// A body in one piece.
struct Text(Option<Bytes>);

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
