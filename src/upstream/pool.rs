//! The connections of one worker to one instance.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::{Request, Response, StatusCode};

use super::exchange::Exchange;
use super::link::{Failure, Link};
use super::tunnel::{Switched, Tunnel};
use super::{ForwardError, Settings};
use crate::http::RequestBody;

/// One worker's way to one instance.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    /// The longest unused connection is in front.
    idle: RefCell<VecDeque<Idle>>,
    swept: Cell<bool>,
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Upstream {
    /// A pool without connections yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, idle: RefCell::default(), swept: Cell::new(false) }
    }

    /// How this instance is reached.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Forwards a request, in origin form, and waits for the head of its response.
    ///
    /// It is sent a second time only where a kept connection turns out to be closed, and then only if no
    /// byte of it was sent, or if it is safe, has no content, and no byte of an answer came.
    ///
    /// # Errors
    /// Where no response came; the error says whose fault that is.
    pub async fn send(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Exchange>, ForwardError> {
        while let Some(mut link) = self.take() {
            link.keep(&request);
            match link.send(request, self.settings.response_timeout).await {
                Ok(response) => return Ok(self.exchange(response, link)),
                Err(Failure::Unsent(unsent)) => request = *unsent,
                Err(Failure::Sent(error)) if error.is_closed() && link.is_unanswered() => {
                    let Some(spare) = link.take_kept() else { return Err(error) };
                    request = spare;
                    break;
                }
                Err(Failure::Sent(error)) => return Err(error),
            }
        }
        let mut link = Link::open(&self.settings).await?;
        match link.send(request, self.settings.response_timeout).await {
            Ok(response) => Ok(self.exchange(response, link)),
            Err(Failure::Unsent(_)) => {
                let closed = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                Err(ForwardError::Connect(closed))
            }
            Err(Failure::Sent(error)) => Err(error),
        }
    }

    /// Forwards a request to switch protocols, on a connection of its own, and only once.
    ///
    /// # Errors
    /// Where no response came; the error says whose fault that is.
    pub async fn switch(self: &Rc<Self>, request: Request<RequestBody>) -> Result<Switched, ForwardError> {
        let mut link = Link::open(&self.settings).await?;
        match link.send(request, self.settings.response_timeout).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let tunnel = Tunnel::new(link, self.settings.idle_body_timeout);
                Ok(Switched::Yes(response.map(drop), tunnel))
            }
            Ok(response) => Ok(Switched::No(self.exchange(response, link))),
            Err(Failure::Unsent(_)) => {
                let closed = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                Err(ForwardError::Connect(closed))
            }
            Err(Failure::Sent(error)) => Err(error),
        }
    }

    fn exchange(
        self: &Rc<Self>,
        response: Response<hyper::body::Incoming>,
        link: Link,
    ) -> Response<Exchange> {
        response.map(|body| Exchange::new(body, link, Rc::clone(self)))
    }

    /// The most recently used connection that still works.
    fn take(&self) -> Option<Link> {
        loop {
            let Idle { mut link, since } = self.idle.borrow_mut().pop_back()?;
            if since.elapsed() < self.settings.keep_alive && link.is_usable() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request, if it can serve one.
    pub(super) fn put_back(self: &Rc<Self>, mut link: Link) {
        if !link.is_usable() {
            return;
        }
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
