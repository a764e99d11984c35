//! Does what is still to be done about keys: tells instances of revocations, and ends keys whose successor
//! has taken over. Run again and again, by every gateway of a store: each errand is given to one of them.

use std::time::{Duration, SystemTime};

use super::agent::{AgentError, Owner};
use super::plan::{Instance, Plan};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::errand::{Errand, Settled, State, Task};
use crate::keys::{Keyring, Reason, RevokedBy, StoreError};

/// A gateway that dies while it runs an errand leaves it to the others for so long.
const GIVEN_FOR: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 16;

/// Runs all errands that are due.
///
/// # Errors
/// Where the store did not answer; nothing is lost then.
pub async fn run_errands(keyring: &Keyring, plan: &Plan) -> Result<(), StoreError> {
    loop {
        let now = SystemTime::now();
        let errands = keyring.ledger().due(now, now + GIVEN_FOR, AT_ONCE).await?;
        if errands.is_empty() {
            return Ok(());
        }
        for errand in errands {
            let settled = run(keyring, plan, &errand).await?;
            keyring.ledger().settle(&errand, &settled).await?;
        }
    }
}

async fn run(keyring: &Keyring, plan: &Plan, errand: &Errand) -> Result<Settled, StoreError> {
    let now = SystemTime::now();
    match errand.task {
        Task::End => {
            let reason = Reason { by: RevokedBy::Rotation, why: None, actor: &Actor::gateway() };
            keyring.revoke(&errand.instance, &errand.key_id, reason).await?;
            Ok(errand.done(now))
        }
        Task::Tell => {
            let instance = plan.instances().iter().find(|instance| *instance.name == *errand.instance);
            let settled = match instance {
                Some(instance) => tell(instance, errand, now).await,
                None => errand.again(now, "no instance of this name is configured here"),
            };
            note(keyring, errand, &settled).await?;
            Ok(settled)
        }
    }
}

async fn tell(instance: &Instance, errand: &Errand, now: SystemTime) -> Settled {
    let owner = Owner { id: &errand.user_id, email: errand.user_email.as_deref() };
    match instance.agent.revoke_key(owner, &errand.key_id).await {
        Ok(()) => errand.done(now),
        // A suspended owner can come back, and with them the key.
        Err(AgentError::Refused { code, .. }) if code == "ACCOUNT_SUSPENDED" => {
            errand.again(now, "the owner is suspended at the instance")
        }
        Err(error @ AgentError::Refused { .. }) => errand.refused(now, &error.to_string()),
        Err(error @ AgentError::Unclear(_)) => errand.again(now, &error.to_string()),
    }
}

async fn note(keyring: &Keyring, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
    let (instance, key_id) = (&*errand.instance, &*errand.key_id);
    match (settled.state, &settled.note) {
        (State::Pending, note) => {
            tracing::debug!(instance, key_id, note, "the instance is not told of the revocation yet");
            return Ok(());
        }
        (State::Done, _) => tracing::info!(instance, key_id, "the instance has revoked the key, too"),
        (State::Refused, note) => {
            tracing::warn!(instance, key_id, note, "the instance did not revoke the key; it is refused here");
        }
    }
    let mut event = Event::new(SystemTime::now(), &Actor::gateway(), Action::InstanceTold);
    event.instance = Some(errand.instance.clone());
    event.key_id = Some(errand.key_id.clone());
    event.user_id = Some(errand.user_id.clone());
    event.detail = settled.note.clone().or_else(|| Some(settled.state.as_str().to_owned()));
    keyring.ledger().record(&event).await
}
