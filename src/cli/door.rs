//! Where a command's calls go: to the running gateway's admin listener, else to the store itself, with the
//! same answers.
//!
//! An embedded store that nobody has open is used as it is; one that is in use belongs to a running gateway, and
//! only then is the admin token sent anywhere. Redis is shared: its gateway is asked where one answers.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::listener::{Listener, unanswered};
use super::{Failure, out};
use crate::api::{Caller, ROOT};
use crate::app::Office;
use crate::config::Config;
use crate::keys::{StoreError, StoreSettings};

/// A way to whoever answers calls of the admin API.
pub(super) struct Door {
    way: Way,
    operator: Option<String>,
    instances: Vec<String>,
    /// Whether anything may have been changed.
    changed: Cell<bool>,
}

enum Way {
    Gateway(Listener),
    Store(Box<Office>),
}

/// What was answered to a call that was done.
#[derive(Debug)]
pub(super) struct Answer {
    content: Value,
}

/// How long instances are told of what was done before it is left to the next gateway that runs.
const TELL_WITHIN: Duration = Duration::from_secs(10);

const FIND: &str = "/keys/find";

impl Door {
    /// Finds the way.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let way = match &config.keys.store {
            StoreSettings::Embedded { path } => embedded(config, path).await?,
            StoreSettings::Redis { .. } => match Listener::find(config).await {
                Ok(listener) => Way::Gateway(listener),
                Err(absent) => {
                    absent.remark();
                    Way::Store(Box::new(Office::open(config).await?))
                }
            },
        };
        let instances = match &way {
            Way::Gateway(listener) => listener.instances().to_vec(),
            Way::Store(_) => config.gateway.instances.iter().map(|i| i.name.to_string()).collect(),
        };
        Ok(Self { way, operator: operator(), instances, changed: Cell::new(false) })
    }

    /// The instance that is meant where it was not said: the only one.
    pub(super) fn instance(&self, given: Option<&str>) -> Result<String, Failure> {
        let names = self.instances.join(", ");
        match (given, self.instances.as_slice()) {
            (Some(given), all) if all.iter().any(|name| name == given) => Ok(given.to_owned()),
            (Some(given), _) => Err(Failure::Usage(format!(
                "there is no instance {}; there is {names}",
                super::wording::plain(given)
            ))),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Failure::Usage(format!(
                "there are several instances: name one of {names} with --instance"
            ))),
        }
    }

    /// Asks for something that changes nothing.
    pub(super) async fn read(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for keys by something that belongs in no address: it may be a key itself.
    pub(super) async fn find(&self, content: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, FIND, Some(content)).await
    }

    /// Has something done.
    pub(super) async fn post(&self, path: &str, content: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, path, Some(content)).await
    }

    /// Has something changed.
    pub(super) async fn patch(&self, path: &str, content: &Value) -> Result<Answer, Failure> {
        self.call(Method::PATCH, path, Some(content)).await
    }

    async fn call(&self, method: Method, path: &str, content: Option<&Value>) -> Result<Answer, Failure> {
        let may_change = method != Method::GET && path != FIND;
        self.changed.set(self.changed.get() || may_change);
        let mut request = Request::builder().method(method).uri(format!("{ROOT}{path}"));
        if content.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let content = content.map(|content| Bytes::from(content.to_string())).unwrap_or_default();
        let request = request.body(content).context("this cannot be asked")?;
        let response = match &self.way {
            Way::Gateway(listener) => {
                let answered = listener.ask(request, self.operator.as_deref()).await;
                answered.map_err(|error| unanswered(&error, listener, may_change))?
            }
            Way::Store(office) => {
                let caller = Caller { name: self.operator.clone(), address: None };
                office.answer(&request, &caller).await
            }
        };
        Answer::of(&response)
    }

    /// Ends the work. Where no gateway runs, instances are told here of what was done.
    pub(super) async fn close(self) {
        match self.way {
            Way::Gateway(_) => {}
            Way::Store(office) if self.changed.get() => office.run_errands(TELL_WITHIN).await,
            Way::Store(_) => {}
        }
    }
}

impl Answer {
    fn of(response: &Response<Bytes>) -> Result<Self, Failure> {
        let status = response.status();
        let content = serde_json::from_slice::<Value>(response.body());
        if status.is_success() {
            let content = content.context("the gateway's answer cannot be read")?;
            return Ok(Self { content });
        }
        let content = content.unwrap_or_default();
        let message = content["message"]
            .as_str()
            .map_or_else(|| format!("the gateway refused with {status}"), super::wording::plain);
        Err(if status == StatusCode::BAD_REQUEST {
            Failure::Usage(message)
        } else {
            Failure::Failed(anyhow!(message))
        })
    }

    /// What was answered, as it is shown to a person.
    pub(super) fn parsed<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        Ok(T::deserialize(&self.content).context("the gateway's answer cannot be read")?)
    }

    /// What was answered, as it is.
    pub(super) fn json(&self) -> &Value {
        &self.content
    }
}

/// A store that nobody has open belongs to no running gateway.
async fn embedded(config: &Config, path: &Path) -> Result<Way, Failure> {
    let is_new = !path.exists();
    match Office::open(config).await {
        Ok(office) => {
            if is_new {
                let path = path.display();
                out::say(&format!("openbin-gateway: {path} did not exist; a new, empty store was made"));
            }
            Ok(Way::Store(Box::new(office)))
        }
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::InUse(_))) => {
            let listener = Listener::find(config).await;
            Ok(Way::Gateway(listener.map_err(|absent| absent.told(path))?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Who runs the command, as the system has it: for the audit chain. Containers and timers have no names; there it is
/// the number of the process's user.
fn operator() -> Option<String> {
    let mut names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let name =
        names.find(|name| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()));
    name.or_else(|| Some(format!("uid:{}", std::fs::metadata("/proc/self").ok()?.uid())))
}

/// What stays as it is in a path or query (RFC 3986 §2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of these segments, whatever they hold.
pub(super) fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, ENCODED))).collect()
}

/// A path with these parameters.
pub(super) fn with_query(path: &str, parameters: &[(&str, String)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in parameters.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.extend(utf8_percent_encode(value, ENCODED));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_segments_apart_whatever_they_hold() {
        assert_eq!(path(&["keys", "home", "a/b ?c"]), "/keys/home/a%2Fb%20%3Fc");
        let parameters = [("q", "a&b=c".to_owned()), ("limit", "5".to_owned())];
        assert_eq!(with_query("/keys", &parameters), "/keys?q=a%26b%3Dc&limit=5");
        assert_eq!(with_query("/keys", &[]), "/keys");
    }

    #[test]
    fn a_refusal_is_told_in_the_gateways_words() {
        let refused = |status: StatusCode, content: &'static str| {
            let mut response = Response::new(Bytes::from(content));
            *response.status_mut() = status;
            match Answer::of(&response) {
                Ok(_) => panic!("refused"),
                Err(Failure::Usage(text)) => format!("usage: {text}"),
                Err(Failure::Failed(error)) => format!("failed: {error}"),
                Err(_) => panic!("told"),
            }
        };
        let body = r#"{"error":"NOT_FOUND","message":"there is no such key"}"#;
        assert_eq!(refused(StatusCode::NOT_FOUND, body), "failed: there is no such key");
        assert!(refused(StatusCode::BAD_REQUEST, body).starts_with("usage: "));
        assert!(refused(StatusCode::BAD_GATEWAY, "<html>").contains("502"));
    }
}
