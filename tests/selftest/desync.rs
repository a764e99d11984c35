//! The framing corpus as an operator sends it: through a gateway that runs, and through something that is none.

use tokio::net::TcpStream;

use crate::support::port::nobody;
use crate::support::{Gateway, Recorder};
use crate::{said, selftest};

async fn desync(arguments: Vec<String>) -> (Option<i32>, String) {
    let run = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> =
            std::iter::once("desync").chain(arguments.iter().map(String::as_str)).collect();
        selftest(&arguments, "")
    });
    let output = run.await.expect("a run");
    (output.status.code(), said(&output))
}

fn through(url: String, more: &[&str]) -> Vec<String> {
    ["--listen-through".to_owned(), url].into_iter().chain(more.iter().map(|&text| text.to_owned())).collect()
}

#[tokio::test]
async fn a_gateway_passes_every_case_by_what_reaches_its_instance() {
    let upstream = nobody();
    let gateway = Gateway::in_front_of(upstream).await;
    let record = upstream.to_string();
    let plain = through(format!("http://{}", gateway.http), &["--record-at", &record]);
    let (code, said) = desync(plain).await;
    assert_eq!(code, Some(0), "{said}");
    let tls = ["--record-at", &record, "--insecure", "--only", "length", "--host", "bins.example.com"];
    let (code, said) = desync(through(format!("https://{}", gateway.https), &tls)).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_gateway_passes_by_its_answers_alone() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let (code, said) = desync(through(format!("http://{}", gateway.http), &["--only", "chunk"])).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("by the answers alone"), "{said}");
}

#[tokio::test]
async fn what_only_passes_bytes_on_is_found_out() {
    let upstream = nobody();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(upstream).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    let record = upstream.to_string();
    let (code, said) = desync(through(url, &["--record-at", &record, "--only", "length-twice"])).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("length-twice-same (RFC 9110 §8.6): "), "{said}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_believed() {
    let upstream = nobody();
    let gateway = Gateway::in_front_of(upstream).await;
    let (code, said) = desync(through(format!("https://{}", gateway.https), &["--only", "length"])).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
    let (code, said) = desync(through("ftp://x".to_owned(), &[])).await;
    assert_eq!(code, Some(2), "{said}");
}
