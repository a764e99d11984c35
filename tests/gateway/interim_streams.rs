//! Interim responses (RFC 9110 §15.2) on streams of HTTP/2: each at once, on its own stream, before its own answer.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use hyper::http::{HeaderMap, Request as Head};
use tokio::sync::Notify;

use crate::support::recorder::Call;
use crate::support::wire::tls_stream;
use crate::support::{Gateway, Recorder, wait};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client that tells of interim responses.
struct Client(SendRequest<Bytes>);

/// One request's answers.
struct Answers(ResponseFuture);

impl Client {
    async fn connect(gateway: &Gateway) -> Self {
        let stream = tls_stream(gateway.https, "localhost", &[b"h2"]).await;
        let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(client)
    }

    async fn ask(&mut self, path: &str) -> Answers {
        let head = Head::get(format!("https://localhost{path}")).body(()).expect("a request");
        self.send(head, true).await.0
    }

    async fn send(&mut self, head: Head<()>, is_all: bool) -> (Answers, SendStream<Bytes>) {
        let mut client = self.0.clone().ready().await.expect("room for a stream");
        let (answer, content) = client.send_request(head, is_all).expect("sent");
        (Answers(answer), content)
    }
}

impl Answers {
    /// The next that comes before the answer; `None` where that is next.
    async fn interim(&mut self) -> Option<(u16, HeaderMap)> {
        let next = poll_fn(|cx| self.0.poll_informational(cx));
        let head = wait::within("an interim response or none", next).await?.expect("an interim response");
        Some((head.status().as_u16(), head.headers().clone()))
    }

    async fn statuses(&mut self) -> Vec<u16> {
        let mut all = Vec::new();
        while let Some((status, _)) = self.interim().await {
            all.push(status);
        }
        all
    }

    async fn answer(self) -> (u16, Vec<u8>) {
        let (head, mut body) = wait::within("an answer", self.0).await.expect("an answer").into_parts();
        let mut content = Vec::new();
        while let Some(data) = wait::within("content", body.data()).await {
            content.extend_from_slice(&data.expect("content"));
        }
        (head.status.as_u16(), content)
    }
}

async fn saying(answer: impl Into<Vec<u8>>) -> (Recorder, Gateway) {
    let answer = answer.into();
    let upstream = Recorder::answering(move |_| answer.clone()).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

#[tokio::test]
async fn an_interim_response_comes_at_once_and_not_only_with_the_answer() {
    let seen = Arc::new(Notify::new());
    let go_on = Arc::clone(&seen);
    let upstream = Recorder::scripted(move |mut call| {
        let seen = Arc::clone(&seen);
        async move {
            while call.request().await.is_some() {
                call.send(HINT).await;
                seen.notified().await;
                call.send(OK).await;
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut client = Client::connect(&gateway).await;
    for _ in 0..3 {
        let mut answers = client.ask("/").await;
        let (status, fields) = answers.interim().await.expect("a hint");
        assert_eq!((status, &fields["link"]), (103, &"</a.css>; rel=preload".parse().expect("a value")));
        go_on.notify_one();
        assert_eq!(answers.answer().await, (200, b"ok".to_vec()));
    }
}

#[tokio::test]
async fn streams_have_each_their_own_in_order_and_before_their_own_answer() {
    let upstream = Recorder::scripted(|mut call: Call| async move {
        while let Some(request) = call.request().await {
            let own = request.target;
            call.send(format!("HTTP/1.1 102 Processing\r\nX-For: {own}\r\n\r\n")).await;
            tokio::task::yield_now().await;
            call.send(format!(
                "HTTP/1.1 103 Early Hints\r\nX-For: {own}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}",
                own.len()
            ))
            .await;
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut client = Client::connect(&gateway).await;
    for round in 0..20 {
        let mut asked = Vec::new();
        for stream in 0..20 {
            let path = format!("/{round}-{stream}");
            asked.push((client.ask(&path).await, path));
        }
        for (mut answers, path) in asked {
            for expected in [102, 103] {
                let (status, fields) = answers.interim().await.expect("an interim response");
                assert_eq!((status, &fields["x-for"]), (expected, &path.parse().expect("a value")));
            }
            assert!(answers.interim().await.is_none(), "{path}");
            assert_eq!(answers.answer().await, (200, path.into_bytes()));
        }
    }
}

#[tokio::test]
async fn nothing_in_it_frames_concerns_another_hop_or_claims_an_identity() {
    let (_upstream, gateway) = saying(format!(
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close, x-mine\r\n\
         X-Mine: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: websocket\r\nX-Auth-User-Id: eve\r\nX_Auth.Method: jwt\r\n\
         Trailer: X-Sum\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{OK}"
    ))
    .await;
    let mut answers = Client::connect(&gateway).await.ask("/").await;
    let (status, fields) = answers.interim().await.expect("a hint");
    assert_eq!((status, fields.len()), (103, 1), "{fields:?}");
    assert!(fields.contains_key("link"));
    assert!(answers.interim().await.is_none(), "100 is the instance's word to the gateway");
    assert_eq!(answers.answer().await, (200, b"ok".to_vec()));
}

#[tokio::test]
async fn an_instance_that_breaks_off_behind_one_is_told_as_502_behind_it() {
    let upstream = Recorder::scripted(|mut call: Call| async move {
        call.request().await;
        call.send(HINT).await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut answers = Client::connect(&gateway).await.ask("/").await;
    assert_eq!(answers.statuses().await, [103]);
    assert_eq!(answers.answer().await.0, 502);
    assert_eq!(upstream.count(), 1, "no request is sent twice once something came");
}

#[tokio::test]
async fn an_upload_that_waits_to_be_asked_for_is_asked_for() {
    let (upstream, gateway) = saying(OK).await;
    let mut client = Client::connect(&gateway).await;
    for length in [None, Some("5")] {
        let mut head = Head::post("https://localhost/api/auth/login").header("expect", "100-Continue");
        if let Some(length) = length {
            head = head.header("content-length", length);
        }
        let (mut answers, mut content) = client.send(head.body(()).expect("a request"), false).await;
        assert_eq!(answers.interim().await.expect("to be asked").0, 100);
        content.send_data(Bytes::from_static(b"hello"), true).expect("sent");
        assert!(answers.interim().await.is_none());
        assert_eq!(answers.answer().await, (200, b"ok".to_vec()));
        assert_eq!(upstream.last().body, b"hello");
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_or_does_not_wait_is_not_asked_for() {
    let (upstream, gateway) = saying(OK).await;
    let mut client = Client::connect(&gateway).await;
    let refused = Head::post("https://localhost/api/bins").header("expect", "100-continue");
    let (mut answers, _content) = client.send(refused.body(()).expect("a request"), false).await;
    assert!(answers.interim().await.is_none());
    assert_eq!(answers.answer().await.0, 401);
    assert_eq!(upstream.count(), 0);
    let eager = Head::post("https://localhost/api/auth/login").body(()).expect("a request");
    let (mut answers, mut content) = client.send(eager, false).await;
    content.send_data(Bytes::from_static(b"hello"), true).expect("sent");
    assert!(answers.interim().await.is_none());
    assert_eq!(answers.answer().await.0, 200);
}
