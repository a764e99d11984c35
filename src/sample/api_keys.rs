//! `/api/api-keys`: the user's own keys, with every odd case that OpenBin has.

use serde::Serialize;
use serde_json::Value;

use super::Call;
use super::answer::{Answer, Fault, json, message};
use super::credential::Caller;
use super::route::Param;
use super::state::{State, timestamp};

/// `GET`: snake case, un-revoked keys only, the newest first.
pub(super) fn list(caller: &Caller, state: &State) -> Answer {
    #[derive(Serialize)]
    struct Row<'a> {
        id: &'a str,
        key_prefix: &'a str,
        name: &'a str,
        created_at: String,
        last_used_at: Option<String>,
        revoked_at: Option<String>,
    }
    #[derive(Serialize)]
    struct List<'a> {
        results: Vec<Row<'a>>,
        count: usize,
    }
    let results: Vec<Row<'_>> = state
        .active_keys(&caller.user_id)
        .map(|key| Row {
            id: &key.id,
            key_prefix: &key.prefix,
            name: &key.name,
            created_at: timestamp(key.created_at),
            last_used_at: key.last_used_at.map(timestamp),
            revoked_at: key.revoked_at.map(timestamp),
        })
        .collect();
    json(200, &List { count: results.len(), results })
}

/// `POST`: camel case, and the only time that the key is shown.
pub(super) fn create(caller: &Caller, state: &mut State, call: &Call) -> Result<Answer, Fault> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Created<'a> {
        id: &'a str,
        key: &'a str,
        key_prefix: &'a str,
        name: &'a str,
    }
    const FULL: Fault = Fault::Invalid("Maximum 10 active API keys allowed");
    if state.active_keys(&caller.user_id).count() >= super::state::MAX_KEYS {
        return Err(FULL);
    }
    let name = name(&call.body)?;
    let made = state.create_key(&caller.user_id, name, call.now).ok_or(FULL)?;
    let created = Created { id: &made.id, key: &made.key, key_prefix: &made.prefix, name: &made.name };
    Ok(json(201, &created))
}

/// What JavaScript counts as false is no name; what is no text cannot be trimmed, which is a 500.
fn name(body: &Value) -> Result<&str, Fault> {
    match body.get("name") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(""),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Fault::Internal)
        }
    }
}

/// `DELETE /:id`: unknown, someone else's and already revoked look alike.
pub(super) fn revoke(caller: &Caller, state: &mut State, call: &Call, id: &Param) -> Result<Answer, Fault> {
    if state.revoke_key(&caller.user_id, id.text()?, call.now) {
        Ok(message("API key revoked"))
    } else {
        Err(Fault::NotFound("API key not found"))
    }
}
