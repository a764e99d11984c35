//! Whose credentials a command tries: given on standard input or in the environment, or made with the instance's
//! secret. Never printed.

use std::io::Read as _;

use anyhow::anyhow;
use zeroize::Zeroizing;

use super::Failure;
use crate::gateway::InstanceSettings;
use crate::keys::PREFIX;
use crate::selftest::{Persona, Place, whose};

/// Where credentials come from.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PersonaArgs {
    /// The id of an OpenBin user: sessions are made for them with the instance's JWT secret
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Read an API key, a session token, or both from standard input, one a line
    #[arg(long)]
    stdin: bool,
    /// The environment variable that holds an API key
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
}

impl PersonaArgs {
    /// What is given, before anybody is asked.
    pub(super) fn given(&self) -> Result<Persona, Failure> {
        let mut given = if self.stdin { read()? } else { Persona::default() };
        if let Some(name) = &self.key_env {
            let key = std::env::var(name).ok().map(|key| key.trim().to_owned());
            let key = key.filter(|key| key.starts_with(PREFIX));
            given.key =
                Some(key.ok_or_else(|| {
                    Failure::Usage(format!("{name} holds no API key, which begins {PREFIX}"))
                })?);
        }
        if self.user.is_none() && given.key.is_none() && given.session.is_none() {
            return Err(Failure::Usage(
                "nobody to be: name a user with --user, or give an API key or a session token with --stdin or \
                 --key-env"
                    .to_owned(),
            ));
        }
        Ok(given)
    }

    /// The same, with the user's id as the instance says it, and the instance's secret.
    pub(super) async fn complete(
        &self,
        given: Persona,
        instance: &InstanceSettings,
        direct: &Place,
    ) -> Result<Persona, Failure> {
        let user_id = match (&self.user, given.key.as_ref().or(given.session.as_ref())) {
            (Some(user), _) => user.clone(),
            (None, Some(credential)) => whose(direct, credential)
                .await
                .map_err(|why| anyhow!("OpenBin does not say whose credential this is: {why}"))?,
            (None, None) => return Err(Failure::Usage("name a user with --user".to_owned())),
        };
        let secret = instance.auth.jwt_secrets.first().map(|secret| Zeroizing::new(secret.expose().to_vec()));
        Ok(Persona { user_id, secret, ..given })
    }
}

/// What stands on standard input.
fn read() -> Result<Persona, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(64 * 1024).read_to_string(&mut text)?;
    let mut persona = Persona::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let held = if line.starts_with(PREFIX) { &mut persona.key } else { &mut persona.session };
        *held = Some(line.to_owned());
    }
    if persona.key.is_none() && persona.session.is_none() {
        return Err(Failure::Usage("standard input holds neither an API key nor a session token".to_owned()));
    }
    Ok(persona)
}
