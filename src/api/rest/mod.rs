//! The admin API, `/admin/api/v1/…`: keys and their use, users, instances and the audit chain.
//!
//! Answers whoever it is asked by: the admin listener, which has checked the token, or the command line
//! where no gateway runs. The rules are the keyring's; here they become JSON. `/openapi.json` is made from
//! the same table that calls are matched with.

mod audit;
mod desk;
mod keys;
mod openapi;
mod problem;
mod transfer;
mod usage;
mod users;
mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

pub use desk::{Client, Desk, DeskError, FindEmail, Later, MakeKey, NewKeyThere, ReadSession};

use self::problem::{Problem, json};
use crate::keys::audit::{Action, Actor, Event, Role};
use crate::keys::{Keyring, holds_key};

/// What every path of the admin API begins with.
pub const ROOT: &str = "/admin/api/v1";

/// Answers calls of the admin API.
#[derive(Debug)]
pub struct Rest {
    keyring: Arc<Keyring>,
    desks: Vec<Desk>,
}

/// Who calls.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// What they call themselves.
    pub name: Option<String>,
    /// From where; `None`: from this machine's command line.
    pub address: Option<IpAddr>,
}

/// One call.
struct Call<'c> {
    actor: Actor,
    query: &'c str,
    content: &'c [u8],
}

/// What is answered: a status and JSON.
type Answer = Result<(StatusCode, serde_json::Value), Problem>;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    ListKeys,
    CreateKey,
    FindKeys,
    ImportKeys,
    ShowKey,
    ChangeKey,
    RevokeKey,
    RotateKey,
    ShowUsage,
    ListBlocked,
    ShowUser,
    BlockUser,
    UnblockUser,
    RevokeKeysOfUser,
    EndSession,
    ListInstances,
    ListAudit,
    VerifyAudit,
    Describe,
}

/// Every call there is: method, path below [`ROOT`], operation. A segment in braces is a parameter.
const ROUTES: [(Method, &str, Operation); 19] = [
    (Method::GET, "/keys", Operation::ListKeys),
    (Method::POST, "/keys", Operation::CreateKey),
    (Method::POST, "/keys/find", Operation::FindKeys),
    (Method::POST, "/keys/import", Operation::ImportKeys),
    (Method::GET, "/keys/{instance}/{id}", Operation::ShowKey),
    (Method::PATCH, "/keys/{instance}/{id}", Operation::ChangeKey),
    (Method::POST, "/keys/{instance}/{id}/revoke", Operation::RevokeKey),
    (Method::POST, "/keys/{instance}/{id}/rotate", Operation::RotateKey),
    (Method::GET, "/usage", Operation::ShowUsage),
    (Method::GET, "/users/blocked", Operation::ListBlocked),
    (Method::GET, "/users/{instance}/{user}", Operation::ShowUser),
    (Method::POST, "/users/{instance}/{user}/block", Operation::BlockUser),
    (Method::POST, "/users/{instance}/{user}/unblock", Operation::UnblockUser),
    (Method::POST, "/users/{instance}/{user}/revoke-keys", Operation::RevokeKeysOfUser),
    (Method::POST, "/sessions/{instance}/end", Operation::EndSession),
    (Method::GET, "/instances", Operation::ListInstances),
    (Method::GET, "/audit", Operation::ListAudit),
    (Method::GET, "/audit/verify", Operation::VerifyAudit),
    (Method::GET, "/openapi.json", Operation::Describe),
];

impl Rest {
    /// Answers for these instances.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, desks: Vec<Desk>) -> Self {
        Self { keyring, desks }
    }

    /// Answers a call, whose token has been checked already.
    pub async fn answer(&self, request: &Request<Bytes>, caller: &Caller) -> Response<Bytes> {
        let actor = Actor { role: Role::Operator, name: caller.name.clone(), address: caller.address };
        let call = Call { actor, query: request.uri().query().unwrap_or_default(), content: request.body() };
        match self.run(request.method(), request.uri().path(), &call).await {
            Ok((status, content)) => json(status, content.to_string()),
            Err(problem) => problem.response(),
        }
    }

    /// Writes down that somebody came without the token; not being able to is said in the log.
    pub(super) async fn note_refused(&self, address: Option<IpAddr>, detail: String) {
        let actor = Actor { role: Role::Operator, name: None, address };
        let mut event = Event::new(SystemTime::now(), &actor, Action::AdminRefused);
        event.detail = Some(detail);
        if let Err(error) = self.keyring.ledger().record(&event).await {
            tracing::warn!(%error, "callers without the admin token are not written down");
        }
    }

    async fn run(&self, method: &Method, path: &str, call: &Call<'_>) -> Answer {
        let (operation, given) = matched(method, path)?;
        call.refuse_misplaced_keys(operation, &given)?;
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        match (operation, given.as_slice()) {
            (Operation::ListKeys, _) => self.list_keys(call).await,
            (Operation::CreateKey, _) => self.create_key(call).await,
            (Operation::FindKeys, _) => self.find_keys(call).await,
            (Operation::ImportKeys, _) => self.import_keys(call).await,
            (Operation::ShowKey, [instance, id]) => self.show_key(instance, id).await,
            (Operation::ChangeKey, [instance, id]) => self.change_key(instance, id, call).await,
            (Operation::RevokeKey, [instance, id]) => self.revoke_key(instance, id, call).await,
            (Operation::RotateKey, [instance, id]) => self.rotate_key(instance, id, call).await,
            (Operation::ShowUsage, _) => self.show_usage(call).await,
            (Operation::ListBlocked, _) => self.list_blocked(call).await,
            (Operation::ShowUser, [instance, user]) => self.show_user(instance, user).await,
            (Operation::BlockUser, [instance, user]) => self.block_user(instance, user, call).await,
            (Operation::UnblockUser, [instance, user]) => self.unblock_user(instance, user, call).await,
            (Operation::RevokeKeysOfUser, [instance, user]) => self.revoke_of(instance, user, call).await,
            (Operation::EndSession, [instance]) => self.end_session(instance, call).await,
            (Operation::ListInstances, _) => Ok(self.instances()),
            (Operation::ListAudit, _) => self.list_audit(call).await,
            (Operation::VerifyAudit, _) => self.verify_audit().await,
            (Operation::Describe, _) => Ok((StatusCode::OK, openapi::document())),
            (_, _) => Err(Problem::missing("Endpoint not found")),
        }
    }

    /// The instance of this name; without a name the only one.
    fn desk(&self, name: Option<&str>) -> Result<&Desk, Problem> {
        match (name, self.desks.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(Problem::bad(format!("say which instance: {}", self.names()))),
            (Some(name), desks) => desks.iter().find(|desk| desk.name == name).ok_or_else(|| {
                let known = self.names();
                Problem::missing(format!("there is no instance named {name:?}; there are: {known}"))
            }),
        }
    }

    fn names(&self) -> String {
        self.desks.iter().map(|desk| desk.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn instances(&self) -> (StatusCode, serde_json::Value) {
        let list: Vec<_> = self
            .desks
            .iter()
            .map(|desk| {
                serde_json::json!({
                    "name": desk.name,
                    "key_issuer": desk.issuer.as_str(),
                    "hosts": desk.hosts,
                    "upstream": desk.upstream,
                })
            })
            .collect();
        (StatusCode::OK, serde_json::json!({ "instances": list }))
    }
}

impl Call<'_> {
    /// The content as JSON; none at all is an empty object.
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let content = if self.content.is_empty() { b"{}" } else { self.content };
        serde_json::from_slice(content).map_err(|error| {
            // The error's own text could repeat a key that was sent in the wrong place.
            let (line, column) = (error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => {
                    "a field is unknown, missing or of the wrong kind (see /admin/api/v1/openapi.json)"
                }
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => "this is not JSON",
            };
            Problem::bad(format!("{what}, at line {line}, column {column} of the content"))
        })
    }

    /// Only a search takes a whole key. Elsewhere one came by mistake, and would be kept, or repeated in an
    /// error.
    fn refuse_misplaced_keys(&self, operation: Operation, given: &[String]) -> Result<(), Problem> {
        let in_content = operation != Operation::FindKeys && holds_key(self.content);
        let in_query = self
            .parsed_query()
            .any(|(name, value)| holds_key(name.as_bytes()) || holds_key(value.as_bytes()));
        if in_content || in_query || given.iter().any(|given| holds_key(given.as_bytes())) {
            return Err(Problem::misplaced_key());
        }
        Ok(())
    }

    fn parsed_query(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// The query's parameters; those that nobody knows are refused.
    fn parameters(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let pairs: Vec<(String, String)> = self.parsed_query().into_owned().collect();
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(Problem::bad(format!("unknown parameter {name:?}; there are: {}", known.join(", "))))
            }
            None => Ok(pairs),
        }
    }
}

/// 202 says that it is done, and not known yet to be felt by every gateway (RFC 9110 §15.3.3).
fn felt(everywhere: bool) -> StatusCode {
    if everywhere { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// The operation of a call, and its parameters, decoded.
fn matched(method: &Method, path: &str) -> Result<(Operation, Vec<String>), Problem> {
    let nothing = || Problem::missing("Endpoint not found");
    let segments: Vec<&str> = path.strip_prefix(ROOT).ok_or_else(nothing)?.split('/').collect();
    let mut exists = false;
    for (known, template, operation) in &ROUTES {
        let parts: Vec<&str> = template.split('/').collect();
        let fits = parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, given)| part.starts_with('{') || part == given);
        if !fits {
            continue;
        }
        if known != method {
            exists = true;
            continue;
        }
        let given = parts.iter().zip(&segments).filter(|(part, _)| part.starts_with('{'));
        let given = given.map(|(_, given)| decoded(given)).collect::<Option<Vec<_>>>();
        return given.map(|given| (*operation, given)).ok_or_else(nothing);
    }
    Err(if exists { Problem::method() } else { nothing() })
}

/// RFC 3986 §2.1; `None` for nothing, and for what is not UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_matched_by_method_and_path_and_fixed_names_win() {
        let operation = |method: Method, path: &str| {
            matched(&method, &format!("{ROOT}{path}")).map(|(operation, given)| (operation, given.join(" ")))
        };
        for (method, path, wanted, given) in [
            (Method::GET, "/keys", Operation::ListKeys, ""),
            (Method::POST, "/keys/find", Operation::FindKeys, ""),
            (Method::GET, "/keys/home/k-1", Operation::ShowKey, "home k-1"),
            (Method::POST, "/keys/home/a%2Fb/revoke", Operation::RevokeKey, "home a/b"),
        ] {
            let (found, parameters) = operation(method, path).expect("an operation");
            assert_eq!((found, parameters.as_str()), (wanted, given), "{path}");
        }
        for path in ["", "/", "/keys/", "/keys/home/", "/keys/home/%ff", "/nothing", "/keys/a/b/c"] {
            assert!(operation(Method::GET, path).is_err(), "{path}");
        }
        assert!(operation(Method::DELETE, "/keys").is_err());
    }
}
