//! A broken or hostile instance: the client is told of it, or sees that something is missing; what looks whole
//! is whole, and belongs to its own request.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::support::client::H2;
use crate::support::recorder::{Call, PLAIN_ANSWER};
use crate::support::{EVERY_WAY, Gateway, Instance, Recorder, Request, Response, Setup, Via, Wire};

use super::case::unescape;
use super::judge::folded;

struct Case {
    name: String,
    section: String,
    outcome: Outcome,
    bytes: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Refused(u16),
    Cut,
    Whole { status: u16, body: String, spent: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Silence,
    Close,
    Reset,
}

fn corpus() -> Vec<Case> {
    let lines = include_str!("corpus/answers.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let parts: Vec<_> = line.splitn(4, " | ").collect();
    let [name, section, outcome, bytes] = parts[..] else { panic!("not a case: {line}") };
    let (bytes, end) = match (bytes.strip_suffix("<FIN>"), bytes.strip_suffix("<RST>")) {
        (Some(bytes), _) => (bytes, End::Close),
        (None, Some(bytes)) => (bytes, End::Reset),
        (None, None) => (bytes, End::Silence),
    };
    let bytes = unescape(&bytes.replace("<OK>", r"HTTP/1.1 200 OK\r\n"));
    let mut words = outcome.splitn(3, ' ');
    let outcome = match (words.next(), words.next(), words.next()) {
        (Some("cut"), None, None) => Outcome::Cut,
        (Some(word @ ("whole" | "spent")), Some(status), body) => Outcome::Whole {
            status: status.parse().expect("a status"),
            body: body.unwrap_or_default().to_owned(),
            spent: word == "spent",
        },
        (Some(status), None, None) => Outcome::Refused(status.parse().expect("a status")),
        _ => panic!("not an outcome: {line}"),
    };
    Case { name: name.to_owned(), section: section.to_owned(), outcome, bytes, end }
}

/// What the instance answers to `/case`; everything else gets a plain answer.
type Said = Arc<Mutex<(Vec<u8>, End)>>;

async fn answer(mut call: Call, said: Said, asked: Arc<AtomicUsize>) {
    while let Some(request) = call.request().await {
        if request.target != "/case" {
            if !call.send(PLAIN_ANSWER).await {
                return;
            }
            continue;
        }
        asked.store(call.connection, Ordering::SeqCst);
        let (bytes, end) = said.lock().expect("said").clone();
        call.send(&bytes).await;
        match end {
            // What a reset overtakes is never read, so the answer is given a chance to be.
            End::Reset => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return call.reset();
            }
            End::Close => return,
            End::Silence => {}
        }
    }
}

async fn judge(case: &Case, via: Via, gateway: &Gateway, upstream: &Recorder) -> Result<(), String> {
    let method = if case.name.starts_with("head-")
        && case.name != "head-broken-off"
        && case.outcome != Outcome::Refused(502)
    {
        "HEAD"
    } else {
        "GET"
    };
    upstream.clear();
    let times = || upstream.requests().iter().filter(|request| request.target == "/case").count();
    let Some(response) = ask(&Request::new(method, "/case"), via, gateway).await else {
        // A head that has not left when its content breaks off never does.
        return if case.outcome == Outcome::Cut { Ok(()) } else { Err("no answer at all".to_owned()) };
    };
    let status = response.status;
    let is_outcome = match &case.outcome {
        Outcome::Refused(expected) => status == *expected && response.whole,
        Outcome::Cut => !response.whole || status == 502,
        Outcome::Whole { status: expected, body, .. } => {
            status == *expected && response.whole && (method == "HEAD" || response.text() == *body)
        }
    };
    if !is_outcome {
        return Err(format!("{status}, whole: {}, {:?}", response.whole, response.text()));
    }
    if let Some((name, _)) = response.fields.iter().find(|(name, _)| is_hop_by_hop(name, via)) {
        return Err(format!("{name} was passed on"));
    }
    // RFC 9110 §9.2.2: a safe request may be sent again where its connection was closed without a word.
    let most = if case.end != End::Silence && case.bytes.is_empty() { 2 } else { 1 };
    if times() > most {
        return Err(format!("the instance was asked {} times", times()));
    }
    Ok(())
}

/// The answer as far as it comes; `None` where the connection or the stream ends before its head.
async fn ask(request: &Request, via: Via, gateway: &Gateway) -> Option<Response> {
    let mut wire = match via {
        Via::Plain => Wire::plain(gateway.http).await,
        Via::Tls => Wire::tls(gateway.https, "localhost").await,
        Via::H2 => return H2::connect(gateway.https, "localhost").await.try_send(request).await.ok(),
    };
    wire.send(request.bytes()).await;
    wire.final_response(request.asks_by()).await
}

fn is_hop_by_hop(name: &str, via: Via) -> bool {
    let name = folded(name);
    // Said by the gateway of its own connection to the client.
    let of_ours = via != Via::H2 && matches!(&*name, "transfer-encoding" | "connection");
    let hop = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "transfer-encoding",
        "te",
        "upgrade",
        "x-private",
    ];
    name.starts_with("x-auth-") || (!of_ours && hop.contains(&&*name))
}

#[tokio::test]
async fn what_an_instance_answers_is_whole_or_is_seen_not_to_be() {
    let said: Said = Arc::new(Mutex::new((Vec::new(), End::Silence)));
    let asked = Arc::new(AtomicUsize::new(0));
    let (told, noted) = (Arc::clone(&said), Arc::clone(&asked));
    let upstream = Recorder::scripted(move |call| answer(call, Arc::clone(&told), Arc::clone(&noted))).await;
    let instance =
        Instance::at(upstream.address()).with("connection: { response_timeout: 1s, idle_body_timeout: 1s }");
    let gateway = Setup::of_instances(vec![instance]).with("workers: 1").start().await;
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in corpus().iter().filter(|case| case.name.contains(&only)) {
        for via in EVERY_WAY {
            count += 1;
            *said.lock().expect("said") = (case.bytes.clone(), case.end);
            // A client that gets nothing it can read fails in its own way.
            let judging = AssertUnwindSafe(judge(case, via, &gateway, &upstream)).catch_unwind();
            let mut judged = tokio::time::timeout(Duration::from_secs(8), judging)
                .await
                .unwrap_or_else(|_| Ok(Err("nobody says anything".to_owned())))
                .unwrap_or_else(|_| Err("nothing that can be read was answered".to_owned()));
            // The next request gets its own answer, on a connection that nothing is wrong with.
            let next = gateway.send(&Request::get("/next")).await;
            let spent = !matches!(case.outcome, Outcome::Whole { spent: false, .. });
            let again = upstream.last().connection == asked.load(Ordering::SeqCst);
            if next.status != 200 || next.body != br#"{"ok":true}"# {
                judged = judged.and(Err(format!("then {} {:?}", next.status, next.text())));
            } else if spent && again {
                judged = judged.and(Err("the connection was used again".to_owned()));
            }
            if let Err(why) = judged {
                wrong.push(format!("{} by {via:?} (RFC {}): {why}", case.name, case.section));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

const RICH: &[u8] = b"HTTP/1.1 206 Partial Content\r\n\
    Set-Cookie: openbin-access=a; HttpOnly; Path=/\r\nSet-Cookie: openbin-csrf=b; Path=/\r\n\
    Vary: Origin\r\nSet-Cookie: openbin-refresh=c; Expires=Wed, 21 Oct 2026 07:28:00 GMT\r\nVary: Accept-Encoding\r\n\
    ETag: W/\"2-x\"\r\nContent-Range: bytes 0-1/9\r\nAccept-Ranges: bytes\r\nContent-Encoding: br\r\n\
    Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\nCache-Control: private, no-transform\r\n\
    Content-Disposition: attachment; filename=\"a.zip\"\r\nX-Accel-Buffering: no\r\nServer: own\r\n\
    RateLimit-Limit: 5\r\nDate: Wed, 21 Oct 2026 07:28:00 GMT\r\nContent-Type: application/zip\r\n\
    Content-Length: 2\r\n\r\nok";

fn sorted(response: &Response) -> Vec<(String, String)> {
    let ours = ["x-request-id", "connection"];
    let mut fields = response.fields.clone();
    fields.retain(|(name, _)| !ours.contains(&&**name));
    // By name only, so that what has the same name stays in its order.
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

#[tokio::test]
async fn what_an_instance_says_of_its_answer_arrives_unchanged_and_in_order() {
    let upstream = Recorder::answering(|_| RICH.to_vec()).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let directly = Request::get("/").to(upstream.address()).await;
    for via in EVERY_WAY {
        let response = Request::get("/").field("Range", "bytes=0-1").send(&gateway, via).await;
        assert_eq!((response.status, response.text().as_str()), (206, "ok"), "{via:?}");
        assert_eq!(sorted(&response), sorted(&directly), "{via:?}");
        let seen = upstream.last();
        assert_eq!(seen.field("range"), Some("bytes=0-1"), "{via:?}");
    }
}

#[tokio::test]
async fn trailers_of_an_answer_claim_nothing() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\
          X-Auth-User-Id: root\r\nContent-Length: 9\r\nConnection: close\r\nSet-Cookie: a=b\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        let response = Request::get("/").field("TE", "trailers").send(&gateway, via).await;
        assert_eq!((response.status, response.text().as_str(), response.whole), (200, "ok", true), "{via:?}");
        let others: Vec<_> = response.trailers.iter().filter(|(name, _)| name != "x-sum").collect();
        assert!(others.is_empty(), "{via:?}: {others:?}");
    }
}
