//! One request on a connection of its own, and the whole answer: for the few questions that the gateway asks
//! for itself. Never used while a client waits for a forwarded request.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Settings;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection could be opened.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// Opening the connection took too long.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection was open, but no answer came.
    #[error("no answer within {0:?}")]
    AnswerTimeout(Duration),
    /// What came back is not HTTP, or broke off.
    #[error("no HTTP answer: {0}")]
    Http(#[source] hyper::Error),
    /// The answer has more content than any answer to a question of ours.
    #[error("the answer broke off, or is longer than {MAX_CONTENT_BYTES} bytes")]
    Content,
}

const MAX_CONTENT_BYTES: usize = 16 << 20;

/// Connects, asks, and reads the whole answer, whatever its status.
///
/// # Errors
/// Where no whole answer came in time.
pub async fn ask(settings: &Settings, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, AskError> {
    let stream = connect(settings).await?;
    within(settings.response_timeout, exchange(stream, settings, request)).await
}

pub(super) async fn connect(settings: &Settings) -> Result<TcpStream, AskError> {
    let connecting = TcpStream::connect(settings.authority.as_str());
    match timeout(settings.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(AskError::Connect),
        Err(_) => Err(AskError::ConnectTimeout(settings.connect_timeout)),
    }
}

pub(super) async fn within<T>(
    deadline: Duration,
    exchange: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    match timeout(deadline, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::AnswerTimeout(deadline)),
    }
}

pub(super) async fn exchange(
    stream: TcpStream,
    settings: &Settings,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, AskError> {
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(settings.authority.as_str()) {
        headers.insert(HOST, host);
    }
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("openbin-gateway/", env!("CARGO_PKG_VERSION"))));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Http)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(AskError::Http)?.into_parts();
        let content = Limited::new(body, MAX_CONTENT_BYTES).collect().await;
        let content = content.map_err(|_| AskError::Content)?.to_bytes();
        Ok(Response::from_parts(head, content))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // Its error, if it has one, is the sender's too.
        _ = &mut connection => exchange.await,
    }
}
