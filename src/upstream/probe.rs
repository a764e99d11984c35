//! Asks an instance, once, whether it is there and how it is set up. For `openbin-gateway check`.
//!
//! Sends two requests that need no credential, on one connection, and judges nothing: what an answer means
//! is for the caller to say. Never used while requests are served.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::header::{ACCEPT, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::{Request, StatusCode, Uri};
use tokio::net::TcpStream;

use super::Settings;
use super::ask::{AskError, connect, exchange, within};

/// What an instance answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How long opening the connection took.
    pub connected_in: Duration,
    /// `GET /api/health`.
    pub health: Answer,
    /// `GET /api/auth/status`, which only OpenBin has.
    pub status: Answer,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Whether its content is a JSON object.
    pub json_object: bool,
    /// Whether it has `Strict-Transport-Security`, which OpenBin sends only with `TRUST_PROXY=true`.
    pub strict_transport_security: bool,
}

/// However long an instance may think about ordinary requests, it answers these two at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and asks.
///
/// # Errors
/// When the instance cannot be reached or does not answer; an answer of any status is not an error.
pub async fn probe(settings: &Settings) -> Result<Probe, AskError> {
    let begun = Instant::now();
    let stream = connect(settings).await?;
    let connected_in = begun.elapsed();
    let health = question(stream, settings, "/api/health").await?;
    // A connection of its own: the first answer may have ended with `Connection: close`.
    let status = question(connect(settings).await?, settings, "/api/auth/status").await?;
    Ok(Probe { connected_in, health, status })
}

async fn question(stream: TcpStream, settings: &Settings, path: &'static str) -> Result<Answer, AskError> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    let deadline = settings.response_timeout.min(ANSWER_TIMEOUT);
    let response = within(deadline, exchange(stream, settings, request)).await?;
    let json = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(response.body());
    Ok(Answer {
        status: response.status(),
        json_object: json.is_ok(),
        strict_transport_security: response.headers().contains_key(STRICT_TRANSPORT_SECURITY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn settings(authority: &str) -> Settings {
        Settings {
            authority: authority.parse().expect("authority"),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            idle_body_timeout: Duration::from_secs(2),
            keep_alive: Duration::from_secs(4),
            max_idle: 1,
        }
    }

    /// Answers two connections with the same bytes, each once its request's head has come.
    async fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("request head"));
                }
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        });
        address.to_string()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_openbin_behind_a_trusted_proxy_is_recognised() {
        let address = answering(
            "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nConnection: close\r\n\
             Content-Length: 15\r\n\r\n{\"status\":\"ok\"}",
        )
        .await;
        let probe = probe(&settings(&address)).await.expect("answers");
        let expected = Answer { status: StatusCode::OK, json_object: true, strict_transport_security: true };
        assert_eq!((probe.health, probe.status), (expected.clone(), expected));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_page_instead_of_json_is_told_apart() {
        let address = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>").await;
        let probe = probe(&settings(&address)).await.expect("answers");
        let expected =
            Answer { status: StatusCode::NOT_FOUND, json_object: false, strict_transport_security: false };
        assert_eq!(probe.health, expected);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_does_not_speak_http_is_an_error() {
        let address = answering("SSH-2.0-OpenSSH\r\n").await;
        assert!(matches!(probe(&settings(&address)).await, Err(AskError::Http(_))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_closed_port_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address").to_string();
        drop(listener);
        assert!(matches!(probe(&settings(&address)).await, Err(AskError::Connect(_))));
    }
}
