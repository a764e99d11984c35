//! The sample on a loopback socket of its own, for the demo.
//!
//! Plain HTTP/1.1 and nothing else: whoever wants it encrypted puts the gateway in front of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, Runtime};

use super::{Sample, SampleBody};

impl Sample {
    /// Serves on any free port of 127.0.0.1, on a thread of its own, for as long as the process lives.
    /// When this returns, connections are accepted.
    ///
    /// # Errors
    /// Where no port is free, or no thread can be started.
    pub fn listen(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sample = self.clone();
        std::thread::Builder::new()
            .name("sample".to_owned())
            .spawn(move || sample.accept(&runtime, listener))?;
        Ok(address)
    }

    fn accept(&self, runtime: &Runtime, listener: TcpListener) {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let sample = self.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let sample = sample.clone();
                    async move { Ok::<Response<SampleBody>, io::Error>(sample.answer(request).await) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new());
                // A connection that fails is the other side's affair.
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn it_answers_on_loopback() {
        let address = Sample::new(crate::sample::SampleOptions::default()).listen().expect("a free port");
        assert!(address.ip().is_loopback());
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.write_all(b"GET /api/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(r#"{"status":"ok"}"#), "{text}");
    }
}
