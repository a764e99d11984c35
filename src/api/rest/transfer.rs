//! Keys taken over from elsewhere, a portion at a time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::Problem;
use super::view::read_instant;
use super::{Answer, Call, Rest, felt};
use crate::keys::{Intake, Issuer, KeyHash, KeyRecord, Learned, PREFIX, Policy, Revocation, RevokedBy};

/// So many keys may come at once.
const MOST_AT_ONCE: usize = 1_000;

/// A portion of keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Portion {
    /// May be left out where there is one instance only.
    instance: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    dry_run: bool,
    keys: Vec<Imported>,
}

/// A key that is known elsewhere.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Imported {
    /// SHA-256 of the whole key, 64 hexadecimal digits.
    key_hash: String,
    user_id: String,
    /// Its id at its issuer; where it has none, its hash.
    id: Option<String>,
    user_email: Option<String>,
    #[serde(default)]
    name: String,
    /// Its first 18 characters, where they are known.
    prefix: Option<String>,
    created_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    expires_at: Option<String>,
    /// `openbin` or `gateway`; the instance's own issuer where it is left out.
    issuer: Option<String>,
}

/// What became of one key.
#[derive(Debug, Serialize, JsonSchema)]
struct Fate {
    /// `written`, `known`, `revoked` (taken in as revoked), `ended` (known, and revoked now as it is where it comes
    /// from), `buried` (revoked here before) or `refused`.
    outcome: &'static str,
    why: Option<String>,
}

impl Rest {
    pub(super) async fn import_keys(&self, call: &Call<'_>) -> Answer {
        let Portion { instance, dry_run, keys } = call.read()?;
        let desk = self.desk(instance.as_deref())?;
        if keys.len() > MOST_AT_ONCE {
            return Err(Problem::invalid(format!("at most {MOST_AT_ONCE} keys at once")));
        }
        let instance: Arc<str> = desk.name.as_str().into();
        let keys: Vec<_> = keys.into_iter().map(|key| key.record(&instance, desk.issuer)).collect();
        let good = || keys.iter().filter_map(|key| key.as_ref().ok());
        let records = good().cloned().collect();
        let Intake { learned, everywhere } = if dry_run {
            let learned = self.keyring.foresee(&instance, records, &call.actor).await?;
            Intake { learned, everywhere: true }
        } else {
            self.keyring.import(&instance, records, &call.actor).await?
        };
        let mut fates = good().zip(learned).map(|(record, learned)| Fate::of(record, &learned));
        let results: Vec<Fate> = keys
            .iter()
            .filter_map(|key| match key {
                Ok(_) => fates.next(),
                Err(why) => Some(Fate { outcome: "refused", why: Some(why.clone()) }),
            })
            .collect();
        Ok((felt(everywhere), json!({ "results": results, "propagated": everywhere })))
    }
}

impl Fate {
    fn of(record: &KeyRecord, learned: &Learned) -> Self {
        let is_revoked = record.revoked.is_some();
        let outcome = match learned {
            Learned::Written if is_revoked => "revoked",
            Learned::Written => "written",
            Learned::Known(known) if known.revoked.is_some() && !is_revoked => "buried",
            Learned::Known(_) if learned.outliving(record).is_some() => "ended",
            Learned::Known(_) => "known",
            Learned::Revoked | Learned::TooMany => "buried",
        };
        Self { outcome, why: None }
    }
}

impl Imported {
    fn record(self, instance: &Arc<str>, issuer: Issuer) -> Result<KeyRecord, String> {
        let hash = KeyHash::from_hex(&self.key_hash).ok_or("key_hash is not 64 hexadecimal digits")?;
        if self.user_id.is_empty() {
            return Err("user_id is empty".to_owned());
        }
        let issuer = match &self.issuer {
            None => issuer,
            Some(text) => Issuer::from_text(text).ok_or("issuer is neither openbin nor gateway")?,
        };
        let time = |name: &str, text: Option<String>| {
            let read = |text: String| read_instant(&text).map_err(|_| format!("{name} is not a time"));
            text.map(read).transpose()
        };
        let revoked = time("revoked_at", self.revoked_at)?.map(|at| Revocation {
            why: Some("revoked before it was imported".to_owned()),
            ..Revocation::new(at, RevokedBy::Mirror)
        });
        Ok(KeyRecord {
            hash,
            id: self.id.filter(|id| !id.is_empty()).unwrap_or_else(|| hash.to_string()),
            instance: Arc::clone(instance),
            user_id: self.user_id,
            user_email: self.user_email,
            name: self.name,
            prefix: self.prefix.unwrap_or_else(|| PREFIX.to_owned()),
            issuer,
            created_at: time("created_at", self.created_at)?,
            last_used_at: time("last_used_at", self.last_used_at)?,
            last_used_over: None,
            policy: Policy { expires_at: time("expires_at", self.expires_at)?, ..Policy::default() },
            revoked,
        })
    }
}
