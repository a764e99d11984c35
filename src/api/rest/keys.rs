//! Keys: found, shown, made, changed, revoked, rotated.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::desk::{Client, DeskError};
use super::problem::Problem;
use super::view::{DayView, ErrandView, Key, PolicyChange, read_duration};
use super::{Answer, Call, Rest, felt};
use crate::keys::audit::{Action, Actor};
use crate::keys::{
    Felt, Issuer, KeyHash, KeyRecord, KeyStanding, LONGEST_NAME, Learned, NewKey, News, PREFIX, Policy,
    Query, Reason, RevokedBy, Token, holds_key,
};

const DEFAULT_LIMIT: usize = 50;
const MOST_LISTED: usize = 1_000;
const MOST_FOUND: usize = 100;
pub(super) const PARAMETERS: [&str; 7] =
    ["instance", "user", "q", "standing", "unused_for", "cursor", "limit"];

/// A key that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    /// May be left out where there is one instance only.
    instance: Option<String>,
    user_id: String,
    user_email: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    policy: PolicyChange,
}

/// What is known of the keys that are looked for: one of these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    instance: Option<String>,
    /// The key itself; it is not kept.
    #[schemars(with = "Option<String>")]
    key: Option<zeroize::Zeroizing<String>>,
    /// How it begins.
    prefix: Option<String>,
    id: Option<String>,
}

/// Why something is done, in plain words.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    pub(super) reason: Option<String>,
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// For how long both keys are good, such as `24h`; without it the old one ends at once.
    overlap: Option<String>,
}

/// A key that was just made, by whomever.
struct Fresh {
    token: Token,
    record: KeyRecord,
}

impl Rest {
    pub(super) async fn list_keys(&self, call: &Call<'_>) -> Answer {
        let now = SystemTime::now();
        let page = self.keyring.ledger().list(&query(call.parameters(&PARAMETERS)?, now)?, now).await?;
        let keys: Vec<Key> = page.records.iter().map(|record| Key::of(record, now)).collect();
        let next = page.next.map(|cursor| cursor.to_string());
        Ok((StatusCode::OK, json!({ "keys": keys, "next": next, "usage_fresh_within": self.freshness() })))
    }

    pub(super) async fn create_key(&self, call: &Call<'_>) -> Answer {
        let Creation { instance, user_id, user_email, name, policy } = call.read()?;
        let now = SystemTime::now();
        let instance = Arc::from(self.desk(instance.as_deref())?.name.as_str());
        let policy = policy.apply(&Policy::default(), now)?;
        if user_id.is_empty() {
            return Err(Problem::invalid("user_id is empty; it is the user's id at the instance"));
        }
        if policy.expires_at.is_some_and(|end| end <= now) {
            return Err(Problem::invalid("the key would be over before it is made"));
        }
        let fresh = self.make(NewKey { instance, user_id, user_email, name, policy }, &call.actor).await?;
        let record = Key::of(&fresh.record, now);
        Ok((StatusCode::CREATED, json!({ "key": fresh.token.expose(), "record": record })))
    }

    /// Whoever issues the instance's keys makes it.
    async fn make(&self, mut new: NewKey, actor: &Actor) -> Result<Fresh, Problem> {
        let desk = self.desk(Some(&new.instance))?;
        if new.user_email.is_none() {
            new.user_email = match (desk.find_email)(new.user_id.clone()).await {
                Ok(email) => email,
                // The gateway's own keys can be made while the instance is down.
                Err(DeskError::Unclear(_)) if desk.issuer == Issuer::Gateway => None,
                Err(error) => return Err(error.into()),
            };
        }
        if desk.issuer == Issuer::Gateway {
            let issued = self.keyring.issue(new, actor).await?;
            return Ok(Fresh { token: issued.token, record: issued.record });
        }
        if new.name.encode_utf16().count() > LONGEST_NAME {
            return Err(Problem::invalid(format!("the name is longer than {LONGEST_NAME} characters")));
        }
        let client = Client { id: new.user_id.clone(), email: new.user_email.clone() };
        let made = (desk.make_key)(client, new.name).await?;
        let record = KeyRecord {
            hash: made.token.hash(),
            id: made.id,
            instance: new.instance,
            user_id: new.user_id,
            user_email: new.user_email,
            name: made.name,
            prefix: made.token.prefix().to_owned(),
            issuer: Issuer::Openbin,
            created_at: Some(SystemTime::now()),
            last_used_at: None,
            last_used_over: None,
            policy: new.policy,
            revoked: None,
        };
        let news = News { record: record.clone(), most: None, action: Action::KeyCreated, actor };
        match self.keyring.of(&record.instance).learn(news).await? {
            Learned::Written => Ok(Fresh { token: made.token, record }),
            Learned::Known(_) | Learned::Revoked | Learned::TooMany => {
                Err(Problem::conflict("the instance made a key that is known or revoked already"))
            }
        }
    }

    pub(super) async fn find_keys(&self, call: &Call<'_>) -> Answer {
        let Search { instance, key, prefix, id } = call.read()?;
        if [&instance, &prefix, &id].into_iter().flatten().any(|text| holds_key(text.as_bytes())) {
            return Err(Problem::misplaced_key());
        }
        let now = SystemTime::now();
        let named: Vec<&str> = match &instance {
            Some(name) => vec![self.desk(Some(name))?.name.as_str()],
            None => self.desks.iter().map(|desk| desk.name.as_str()).collect(),
        };
        let records = match (key, prefix, id) {
            (Some(key), None, None) => {
                let token = Token::parse(&key).ok_or_else(|| {
                    Problem::invalid("this has not the shape of a key: sk_openbin_ and 64 hexadecimal digits")
                })?;
                self.with_hash(&named, &token.hash()).await?
            }
            (None, Some(prefix), None) => self.with_prefix(instance.as_deref(), &prefix, now).await?,
            (None, None, Some(id)) => self.with_id(&named, &id).await?,
            _ => return Err(Problem::bad("give one of key, prefix and id")),
        };
        let keys: Vec<Key> = records.iter().map(|record| Key::of(record, now)).collect();
        Ok((StatusCode::OK, json!({ "keys": keys })))
    }

    async fn with_hash(&self, instances: &[&str], hash: &KeyHash) -> Result<Vec<KeyRecord>, Problem> {
        let mut records = Vec::new();
        for instance in instances {
            records.extend(self.keyring.ledger().find(instance, hash).await?);
        }
        Ok(records)
    }

    async fn with_id(&self, instances: &[&str], id: &str) -> Result<Vec<KeyRecord>, Problem> {
        let mut records = Vec::new();
        for instance in instances {
            records.extend(self.keyring.ledger().with_id(instance, id).await?);
        }
        Ok(records)
    }

    async fn with_prefix(
        &self,
        instance: Option<&str>,
        prefix: &str,
        now: SystemTime,
    ) -> Result<Vec<KeyRecord>, Problem> {
        if !prefix.starts_with(PREFIX) || prefix.len() == PREFIX.len() {
            return Err(Problem::invalid(format!("a key's prefix begins with {PREFIX} and goes on")));
        }
        let mut query = Query {
            instance: instance.map(Arc::from),
            text: Some(prefix.to_lowercase()),
            limit: MOST_FOUND,
            ..Query::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self.keyring.ledger().list(&query, now).await?;
            found.extend(page.records.into_iter().filter(|record| record.prefix.starts_with(prefix)));
            query.after = page.next;
            if query.after.is_none() || found.len() >= MOST_FOUND {
                found.truncate(MOST_FOUND);
                return Ok(found);
            }
        }
    }

    pub(super) async fn show_key(&self, instance: &str, id: &str) -> Answer {
        let record = self.only(instance, id).await?;
        let ledger = self.keyring.ledger();
        let used = ledger.with_days(std::slice::from_ref(&record)).await?.pop();
        let (record, days) = used.unwrap_or((record, Vec::new()));
        let errands = ledger.errands_of(instance, id).await?;
        let answer = json!({
            "record": Key::of(&record, SystemTime::now()),
            "days": days.into_iter().map(DayView::of).collect::<Vec<_>>(),
            "errands": errands.iter().map(ErrandView::of).collect::<Vec<_>>(),
            "usage_fresh_within": self.freshness(),
        });
        Ok((StatusCode::OK, answer))
    }

    pub(super) async fn change_key(&self, instance: &str, id: &str, call: &Call<'_>) -> Answer {
        let change: PolicyChange = call.read()?;
        let record = self.only(instance, id).await?;
        let now = SystemTime::now();
        // Once before: what cannot be meant is said with its own words.
        change.apply(&record.policy, now)?;
        let amend = |policy: &Policy| change.apply(policy, now).unwrap_or_else(|_| policy.clone());
        let record = self.keyring.amend(instance, &record.hash, &call.actor, amend).await?;
        Ok((StatusCode::OK, json!({ "record": Key::of(&record, now) })))
    }

    pub(super) async fn revoke_key(&self, instance: &str, id: &str, call: &Call<'_>) -> Answer {
        let Why { reason } = call.read()?;
        self.desk(Some(instance))?;
        let reason = Reason { by: RevokedBy::Operator, why: reason.as_deref(), actor: &call.actor };
        let Felt { keys, everywhere } = self.keyring.revoke(instance, id, reason).await?;
        let answer = json!({ "revoked": keys, "known": keys > 0, "propagated": everywhere });
        Ok((felt(everywhere), answer))
    }

    pub(super) async fn rotate_key(&self, instance: &str, id: &str, call: &Call<'_>) -> Answer {
        let Rotation { overlap } = call.read()?;
        let overlap = overlap.as_deref().map(read_duration).transpose()?.unwrap_or(Duration::ZERO);
        let old = self.only(instance, id).await?;
        let now = SystemTime::now();
        match KeyStanding::of(&old, now) {
            KeyStanding::Active | KeyStanding::Disabled => {}
            KeyStanding::Expired | KeyStanding::Revoked => {
                return Err(Problem::conflict("the key is over already; make a new one instead"));
            }
        }
        if old.policy.replaced_by.is_some() {
            return Err(Problem::conflict("the key has a successor already; rotate that one"));
        }
        let new = NewKey {
            instance: Arc::clone(&old.instance),
            user_id: old.user_id.clone(),
            user_email: old.user_email.clone(),
            name: old.name.clone(),
            policy: Policy { disabled: false, ..old.policy.clone() },
        };
        let fresh = self.make(new, &call.actor).await?;
        self.keyring.succeed(&old, &fresh.record.id, overlap, &call.actor).await?;
        if overlap.is_zero() {
            let reason = Reason { by: RevokedBy::Rotation, why: None, actor: &call.actor };
            self.keyring.revoke(instance, id, reason).await?;
        }
        let old = self.only(instance, id).await?;
        let (record, old) = (Key::of(&fresh.record, now), Key::of(&old, SystemTime::now()));
        Ok((StatusCode::CREATED, json!({ "key": fresh.token.expose(), "record": record, "old": old })))
    }

    /// The key with this id; where several share it, nobody can say which is meant.
    async fn only(&self, instance: &str, id: &str) -> Result<KeyRecord, Problem> {
        self.desk(Some(instance))?;
        let mut records = self.keyring.ledger().with_id(instance, id).await?;
        match (records.pop(), records.len()) {
            (Some(record), 0) => Ok(record),
            (Some(_), more) => {
                Err(Problem::conflict(format!("{} keys have this id; they can only be revoked", more + 1)))
            }
            (None, _) => Err(Problem::missing(format!("instance {instance:?} has no key with this id"))),
        }
    }

    pub(super) fn freshness(&self) -> String {
        humantime::format_duration(self.keyring.usage_interval()).to_string()
    }
}

/// Which keys are asked for by these parameters, which are of [`PARAMETERS`].
pub(super) fn query(parameters: Vec<(String, String)>, now: SystemTime) -> Result<Query, Problem> {
    let mut query = Query { limit: DEFAULT_LIMIT, ..Query::default() };
    for (name, value) in parameters {
        match name.as_str() {
            "instance" => query.instance = Some(value.into()),
            "user" => query.user_id = Some(value),
            "q" => query.text = Some(value.to_lowercase()),
            "standing" => {
                let wrong = || {
                    Problem::bad(
                        "standing is one of active, disabled, expired, revoked; leave it out for all",
                    )
                };
                query.standing = Some(KeyStanding::from_text(&value).ok_or_else(wrong)?);
            }
            "unused_for" => query.unused_since = now.checked_sub(read_duration(&value)?),
            "cursor" => query.after = Some(value.parse().map_err(Problem::bad)?),
            _ => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
                query.limit =
                    limit.ok_or_else(|| Problem::bad(format!("limit is between 1 and {MOST_LISTED}")))?;
            }
        }
    }
    Ok(query)
}
