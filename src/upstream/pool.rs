//! The connections of one worker to one instance.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::{Response, StatusCode};

use super::exchange::Exchange;
use super::link::Link;
use super::outbound::Outbound;
use super::send_queue::SendQueue;
use super::tunnel::{Switched, Tunnel};
use super::{ForwardError, Settings};

/// One worker's way to one instance.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    /// The longest unused connection is in front.
    idle: RefCell<VecDeque<Idle>>,
    swept: Cell<bool>,
    queue: Rc<SendQueue>,
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

impl Upstream {
    /// A pool without connections yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, idle: RefCell::default(), swept: Cell::new(false), queue: Rc::default() }
    }

    /// How this instance is reached.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Forwards the request that is there, and waits for the head of its response.
    ///
    /// It is sent a second time only where a kept connection turns out to be closed, and then only if no
    /// byte of it was sent, or if it is safe, has no content, and no byte of an answer came. It is taken from where it
    /// is only to be sent, since it is large, and every future on the way here would have room for it.
    ///
    /// # Errors
    /// Where no response came; the error says whose fault that is.
    pub async fn send(
        self: &Rc<Self>,
        request: &mut Option<Outbound>,
    ) -> Result<Response<Exchange>, ForwardError> {
        let (mut link, was_kept) = match self.take() {
            Some(link) => (link, true),
            None => (Box::pin(Link::open(&self.settings)).await?, false),
        };
        let Some(asked) = request.take() else { return Err(not_sent()) };
        link.ask(asked);
        let answer = match link.answer(&self.queue, self.settings.response_timeout).await {
            Err(error) if was_kept && error.is_closed() && link.may_be_asked_again() => {
                let mut fresh = Box::pin(Link::open(&self.settings)).await?;
                fresh.ask_again(&mut link);
                link = fresh;
                link.answer(&self.queue, self.settings.response_timeout).await?
            }
            answer => answer?,
        };
        Ok(self.exchange(answer, link))
    }

    /// Forwards a request to switch protocols, on a connection of its own, and only once.
    ///
    /// # Errors
    /// Where no response came; the error says whose fault that is.
    pub async fn switch(self: &Rc<Self>, request: Outbound) -> Result<Switched, ForwardError> {
        let mut link = Link::open(&self.settings).await?;
        link.ask(request);
        let answer = link.answer(&self.queue, self.settings.response_timeout).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = Tunnel::new(*link, self.settings.idle_body_timeout).ok_or_else(not_sent)?;
            return Ok(Switched::Yes(answer, tunnel));
        }
        Ok(Switched::No(self.exchange(answer, link)))
    }

    fn exchange(self: &Rc<Self>, answer: Response<()>, link: Box<Link>) -> Response<Exchange> {
        answer.map(|()| Exchange::new(link, Rc::clone(self)))
    }

    /// The most recently used connection that still works.
    fn take(&self) -> Option<Box<Link>> {
        loop {
            let Idle { mut link, since } = self.idle.borrow_mut().pop_back()?;
            if since.elapsed() < self.settings.keep_alive && link.is_usable() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request, if it can serve one.
    pub(super) fn put_back(self: &Rc<Self>, mut link: Box<Link>) {
        if !link.seems_usable() {
            return;
        }
        link.rest();
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.settings.max_idle {
            idle.push_back(Idle { link, since: Instant::now() });
            drop(idle);
            self.sweep_later();
        }
    }

    /// Closes connections that have been unused for too long, as nothing else would notice them. The
    /// task lives only while there are any.
    fn sweep_later(self: &Rc<Self>) {
        if self.swept.replace(true) {
            return;
        }
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while pool.sweep() {
                tokio::time::sleep(SWEEP_INTERVAL).await;
            }
            pool.swept.set(false);
        });
    }

    /// Closes what has been unused for too long; tells whether anything is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|kept| kept.since.elapsed() >= self.settings.keep_alive) {
            idle.pop_front();
        }
        !idle.is_empty()
    }
}

fn not_sent() -> ForwardError {
    ForwardError::Connect(std::io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::pin::pin;

    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use hyper::Request;

    use super::*;
    use crate::http::RequestBody;

    /// Answers each request on one connection with two bytes.
    fn instance() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut buffer, mut length) = ([0; 4096], 0);
            while let Ok(more @ 1..) = stream.read(&mut buffer[length..]) {
                length += more;
                if buffer[..length].ends_with(b"\r\n\r\n") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("an answer");
                    length = 0;
                }
            }
        });
        address
    }

    async fn exchange(upstream: &Rc<Upstream>) -> Bytes {
        let mut request = Request::new(RequestBody::own(Bytes::new()));
        *request.uri_mut() = hyper::Uri::from_static("/api/bins");
        let request = Outbound::new(request, |_| ());
        let answer = upstream.send(&mut Some(request)).await.expect("an answer");
        answer.into_body().collect().await.expect("its content").to_bytes()
    }

    #[tokio::test]
    async fn an_exchange_runs_its_task_to_be_queued_and_when_the_answer_has_come() {
        let work = async {
            let upstream = Rc::new(Upstream::new(Settings::patient(instance())));
            exchange(&upstream).await;
            for _ in 0..10 {
                let mut runs = 0;
                let mut exchange = pin!(exchange(&upstream));
                let content = poll_fn(|cx| {
                    runs += 1;
                    exchange.as_mut().poll(cx)
                });
                assert_eq!(content.await, "ok");
                assert_eq!(runs, 2);
            }
        };
        // A task of its own, so that it runs only when it is woken.
        let tasks = tokio::task::LocalSet::new();
        tasks.run_until(async { tokio::task::spawn_local(work).await.expect("done") }).await;
    }
}
