//! Users and sessions: shown, blocked, ended.

use std::time::SystemTime;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keys::Why;
use super::problem::Problem;
use super::view::instant;
use super::{Answer, Call, Rest, felt};
use crate::keys::block::{Block, Subject};
use crate::keys::{Felt, KeyStanding, Reason, RevokedBy};

/// A session that is to be ended.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// Its token; it is not kept.
    #[schemars(with = "String")]
    token: zeroize::Zeroizing<String>,
}

/// A user who is blocked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BlockedView {
    instance: String,
    user_id: String,
    at: String,
    until: Option<String>,
    why: Option<String>,
}

impl Rest {
    pub(super) async fn list_blocked(&self, call: &Call<'_>) -> Answer {
        let mut instance = None;
        for (_, name) in call.parameters(&["instance"])? {
            instance = Some(self.desk(Some(&name))?.name.as_str());
        }
        let mut blocks = self.keyring.ledger().blocks(SystemTime::now()).await?;
        blocks.retain(|block| instance.is_none_or(|name| block.instance == name));
        blocks.sort_by_key(|block| std::cmp::Reverse(block.at));
        let blocked: Vec<_> = blocks.into_iter().filter_map(BlockedView::of).collect();
        Ok((StatusCode::OK, json!({ "blocked": blocked })))
    }

    pub(super) async fn show_user(&self, instance: &str, user: &str) -> Answer {
        self.desk(Some(instance))?;
        let now = SystemTime::now();
        let blocks = self.keyring.ledger().blocks(now).await?;
        let subject = Subject::User(user.to_owned());
        let block = blocks.iter().find(|block| block.instance == instance && block.subject == subject);
        let blocked = block.map(
            |block| json!({ "at": instant(block.at), "until": block.until.map(instant), "why": block.why }),
        );
        let keys = self.keyring.keys_of(instance, user).await?;
        let active = keys.iter().filter(|key| KeyStanding::of(key, now) == KeyStanding::Active).count();
        Ok((StatusCode::OK, json!({ "blocked": blocked, "active_keys": active })))
    }

    pub(super) async fn block_user(&self, instance: &str, user: &str, call: &Call<'_>) -> Answer {
        let Why { reason } = call.read()?;
        self.desk(Some(instance))?;
        let everywhere = self.keyring.block_user(instance, user, reason.as_deref(), &call.actor).await?;
        Ok((felt(everywhere), json!({ "blocked": true, "propagated": everywhere })))
    }

    pub(super) async fn unblock_user(&self, instance: &str, user: &str, call: &Call<'_>) -> Answer {
        self.desk(Some(instance))?;
        let unblocked = self.keyring.unblock_user(instance, user, &call.actor).await?;
        Ok((StatusCode::OK, json!({ "unblocked": unblocked })))
    }

    pub(super) async fn revoke_of(&self, instance: &str, user: &str, call: &Call<'_>) -> Answer {
        let Why { reason } = call.read()?;
        self.desk(Some(instance))?;
        let reason = Reason { by: RevokedBy::Operator, why: reason.as_deref(), actor: &call.actor };
        let Felt { keys, everywhere } = self.keyring.revoke_all_of(instance, user, reason).await?;
        Ok((felt(everywhere), json!({ "revoked": keys, "propagated": everywhere })))
    }

    pub(super) async fn end_session(&self, instance: &str, call: &Call<'_>) -> Answer {
        let Session { token } = call.read()?;
        let desk = self.desk(Some(instance))?;
        let session = (desk.read_session)(&token).ok_or_else(|| {
            Problem::invalid("this is not the token of a session that could be used at this instance")
        })?;
        let everywhere = self.keyring.end_session(instance, &session, &call.actor).await?;
        Ok((felt(everywhere), json!({ "ended": true, "propagated": everywhere })))
    }
}

impl BlockedView {
    /// `None` where a session is refused: nobody can say whose it was.
    fn of(block: Block) -> Option<Self> {
        let Block { instance, subject, at, until, why } = block;
        match subject {
            Subject::User(user_id) => {
                Some(Self { instance, user_id, at: instant(at), until: until.map(instant), why })
            }
            Subject::Session(_) => None,
        }
    }
}
