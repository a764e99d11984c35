//! The admin API over the instances of a configuration: what it does at an instance goes through that
//! instance's agent.

use std::sync::Arc;
use std::time::SystemTime;

use crate::api::{Client, Desk, DeskError, FindEmail, MakeKey, NewKeyThere, ReadSession, Rest};
use crate::auth::Verifier;
use crate::config::Config;
use crate::gateway::{Agent, AgentError, InstanceSettings, Owner};
use crate::keys::Keyring;

/// The admin API for these instances.
#[must_use]
pub fn rest(config: &Config, keyring: &Arc<Keyring>) -> Rest {
    let desk = |instance: &InstanceSettings| desk(instance, keyring);
    Rest::new(Arc::clone(keyring), config.gateway.instances.iter().map(desk).collect())
}

fn desk(instance: &InstanceSettings, keyring: &Keyring) -> Desk {
    Desk {
        name: instance.name.to_string(),
        issuer: instance.key_issuer,
        hosts: instance.hosts.clone(),
        upstream: instance.upstream.authority.to_string(),
        find_email: find_email(Agent::new(instance)),
        make_key: make_key(Agent::new(instance)),
        read_session: read_session(Verifier::new(&instance.auth, keyring.of(&instance.name))),
    }
}

fn find_email(agent: Agent) -> FindEmail {
    Box::new(move |user_id: String| {
        let agent = agent.clone();
        Box::pin(async move { agent.email_of(&user_id).await.map_err(why) })
    })
}

fn make_key(agent: Agent) -> MakeKey {
    Box::new(move |client: Client, name: String| {
        let agent = agent.clone();
        Box::pin(async move {
            let owner = Owner { id: &client.id, email: client.email.as_deref() };
            let made = agent.make_key(owner, &name).await.map_err(why)?;
            Ok(NewKeyThere { token: made.token, id: made.id, name: made.name })
        })
    })
}

fn why(error: AgentError) -> DeskError {
    match error {
        AgentError::Refused { .. } => DeskError::Refused(error.to_string()),
        AgentError::Unclear(_) => DeskError::Unclear(error.to_string()),
    }
}

fn read_session(verifier: Verifier) -> ReadSession {
    Box::new(move |token: &str| verifier.session_to_end(token, SystemTime::now()).ok())
}
