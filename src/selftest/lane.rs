//! One place, asked one request after the other on connections that are kept.

use std::io::{self, Error};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::place::Place;
use super::trial::Trial;
use super::wire::{Answer, Wire, connect, within};

/// Connections to one place.
pub(super) struct Lane {
    place: Place,
    http1: Option<Wire>,
    http2: Option<SendRequest<Full<Bytes>>>,
}

impl Lane {
    pub(super) fn to(place: Place) -> Self {
        Self { place, http1: None, http2: None }
    }

    /// Sends a trial, by HTTP/2 where it wants that and TLS is spoken here.
    pub(super) async fn ask(&mut self, trial: &Trial) -> io::Result<Answer> {
        if trial.http2 && self.place.tls.is_some() {
            return self.by_http2(trial).await;
        }
        let bytes = self.bytes(trial);
        if let Some(wire) = self.http1.take()
            && let Ok(answer) = self.exchange(wire, trial, &bytes).await
        {
            return Ok(answer);
        }
        // A kept connection may have been closed meanwhile; trials can be sent twice.
        let wire = Wire::connect(&self.place).await?;
        self.exchange(wire, trial, &bytes).await
    }

    async fn exchange(&mut self, mut wire: Wire, trial: &Trial, bytes: &[u8]) -> io::Result<Answer> {
        wire.send(bytes).await?;
        let answer = wire.answer(trial.method).await?;
        let answer = answer.ok_or_else(|| Error::other("no answer"))?;
        let ends = answer.all("connection").any(|value| value.eq_ignore_ascii_case("close"));
        if !ends && answer.whole {
            self.http1 = Some(wire);
        }
        Ok(answer)
    }

    fn bytes(&self, trial: &Trial) -> Vec<u8> {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", trial.method, trial.target, self.place.authority());
        for field in &trial.fields {
            text.push_str(&format!("{}: {}\r\n", field.name, field.value));
        }
        if !trial.body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", trial.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(trial.body);
        text.into_bytes()
    }

    async fn by_http2(&mut self, trial: &Trial) -> io::Result<Answer> {
        let sender = match &mut self.http2 {
            Some(sender) if !sender.is_closed() => sender,
            other => {
                let stream = TokioIo::new(connect(&self.place, true).await?);
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), stream).await.map_err(Error::other)?;
                tokio::spawn(connection);
                other.insert(sender)
            }
        };
        let target = Uri::builder().scheme("https").authority(self.place.authority());
        let target = target.path_and_query(trial.target.as_str()).build().map_err(Error::other)?;
        let mut request = Request::new(Full::new(Bytes::from_static(trial.body.as_bytes())));
        *request.method_mut() = trial.method.parse().map_err(Error::other)?;
        *request.uri_mut() = target;
        for field in &trial.fields {
            let value = HeaderValue::from_bytes(field.value.as_bytes()).map_err(Error::other)?;
            request.headers_mut().append(HeaderName::from_static(field.name), value);
        }
        within(async {
            let response = sender.send_request(request).await.map_err(Error::other)?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(Error::other)?.to_bytes().to_vec();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let fields = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
            Ok(Answer { status: head.status.as_u16(), fields: fields.collect(), body, whole: true })
        })
        .await
    }
}
