//! An instance that issues API keys: what adoption and mirroring need of OpenBin, and knobs to break it with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::jwt;
use super::recorder::{Call, Recorded, Recorder};

/// An instance with one user, who owns all keys.
#[derive(Debug)]
pub struct Issuer {
    pub recorder: Recorder,
    state: Arc<State>,
}

/// A key that the instance issued.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: String,
    pub key: String,
    name: String,
    revoked: bool,
}

#[derive(Debug)]
struct State {
    keys: Mutex<Vec<Issued>>,
    /// What is answered to every question about an owner instead of the truth: a status and a body.
    trouble: Mutex<Option<(u16, String)>>,
    /// Holds answers to the gateway's questions back while it has no permits.
    held: Semaphore,
    asked: AtomicUsize,
}

const OPEN: usize = 1_000_000;

impl Issuer {
    pub async fn start() -> Self {
        let state = Arc::new(State {
            keys: Mutex::default(),
            trouble: Mutex::default(),
            held: Semaphore::new(OPEN),
            asked: AtomicUsize::new(0),
        });
        let own = Arc::clone(&state);
        let recorder = Recorder::scripted(move |call| Arc::clone(&own).serve(call)).await;
        Self { recorder, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.recorder.address()
    }

    /// Issues a key that no gateway has seen.
    pub fn issue(&self) -> Issued {
        self.state.issue("made before")
    }

    /// Revokes a key without any gateway seeing it.
    pub fn revoke(&self, id: &str) {
        self.state.set_revoked(id, true);
    }

    /// What the restore of an old backup does: the key works again at the instance.
    pub fn restore(&self, id: &str) {
        self.state.set_revoked(id, false);
    }

    /// Answers the gateway's questions with this from now on.
    pub fn trouble(&self, status: u16, body: &str) {
        *lock(&self.state.trouble) = Some((status, body.to_owned()));
    }

    /// Answers truthfully again.
    pub fn recover(&self) {
        *lock(&self.state.trouble) = None;
    }

    /// Holds the answers to the gateway's questions back.
    pub async fn hold(&self) {
        let permits = u32::try_from(self.state.held.available_permits()).expect("permits");
        self.state.held.acquire_many(permits).await.expect("open").forget();
    }

    /// Lets held answers go.
    pub fn release(&self) {
        self.state.held.add_permits(OPEN);
    }

    /// How often a gateway asked who a key's owner is.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// How many requests to this target arrived.
    pub fn count(&self, target: &str) -> usize {
        self.recorder.requests().iter().filter(|request| request.target == target).count()
    }
}

impl State {
    async fn serve(self: Arc<Self>, mut call: Call) {
        while let Some(request) = call.request().await {
            let question = matches!(&*request.target, "/api/auth/me") && request.method == "GET";
            if question {
                self.asked.fetch_add(1, Ordering::SeqCst);
                if let Ok(permit) = self.held.acquire().await {
                    drop(permit);
                }
            }
            let (status, body) = self.answer(&request, question);
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if !call.send(answer).await {
                return;
            }
        }
    }

    fn answer(&self, request: &Recorded, question: bool) -> (u16, String) {
        if question && let Some((status, body)) = lock(&self.trouble).clone() {
            return (status, body);
        }
        if let Some(refusal) = self.refused(request) {
            return (401, refusal.to_string());
        }
        let (status, body) = match (&*request.method, &*request.target) {
            ("GET", "/api/auth/me") => {
                (200, json!({ "id": jwt::USER, "email": jwt::EMAIL, "displayName": "Ann" }))
            }
            ("GET", "/api/api-keys") => (200, self.list()),
            ("POST", "/api/api-keys") => {
                let issued = self.issue("made through the gateway");
                (
                    201,
                    json!({ "id": issued.id, "key": issued.key, "keyPrefix": &issued.key[..18], "name": issued.name }),
                )
            }
            ("DELETE", target) => match target.strip_prefix("/api/api-keys/") {
                Some(id) if self.set_revoked(id, true) => (200, json!({ "message": "API key revoked" })),
                _ => (404, json!({ "error": "NOT_FOUND", "message": "API key not found" })),
            },
            _ => (200, json!({ "ok": true })),
        };
        (status, body.to_string())
    }

    /// OpenBin's own check of a key; sessions are believed.
    fn refused(&self, request: &Recorded) -> Option<Value> {
        let token = request.field("authorization")?.strip_prefix("Bearer ")?;
        if !token.starts_with("sk_openbin_") {
            return None;
        }
        let good = lock(&self.keys).iter().any(|issued| issued.key == token && !issued.revoked);
        (!good).then(|| json!({ "error": "UNAUTHORIZED", "message": "Invalid API key" }))
    }

    fn list(&self) -> Value {
        let keys = lock(&self.keys);
        let active = keys.iter().filter(|issued| !issued.revoked);
        let results: Vec<Value> = active
            .map(|issued| {
                json!({ "id": issued.id, "key_prefix": &issued.key[..18], "name": issued.name,
                        "created_at": "2026-11-22 21:23:59", "last_used_at": null, "revoked_at": null })
            })
            .collect();
        json!({ "count": results.len(), "results": results })
    }

    fn issue(&self, name: &str) -> Issued {
        let mut keys = lock(&self.keys);
        let number = keys.len() + 1;
        // The number stands within the 18 characters that a list shows of a key.
        let issued = Issued {
            id: format!("00000000-0000-4000-8000-{number:012x}"),
            key: format!("sk_openbin_{number:07x}{}", "c".repeat(57)),
            name: name.to_owned(),
            revoked: false,
        };
        keys.push(issued.clone());
        issued
    }

    fn set_revoked(&self, id: &str, revoked: bool) -> bool {
        let mut keys = lock(&self.keys);
        let Some(issued) = keys.iter_mut().find(|issued| issued.id == id && issued.revoked != revoked) else {
            return false;
        };
        issued.revoked = revoked;
        true
    }
}

/// How often each status came.
pub fn tally(statuses: impl IntoIterator<Item = u16>) -> HashMap<u16, usize> {
    let mut tally = HashMap::new();
    for status in statuses {
        *tally.entry(status).or_default() += 1;
    }
    tally
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
