//! The admin API without a gateway: for the command line, where none runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::{Request, Response};

use crate::api::{Caller, Rest};
use crate::auth::LimitState;
use crate::config::Config;
use crate::gateway::{Plan, run_errands};
use crate::keys::{self, Keyring};
use crate::observe::Metrics;

/// Everything that it takes to answer calls of the admin API in this process.
pub struct Office {
    rest: Rest,
    keyring: Arc<Keyring>,
    plan: Plan,
}

impl Office {
    /// Opens the store of this configuration.
    ///
    /// # Errors
    /// Where the store cannot be opened; a [`keys::StoreError`] says why.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
        let store = keys::open(&config.keys.store).await?;
        let counted = Arc::new(LimitState::new(&metrics));
        let keyring = Arc::new(Keyring::new(config.keys.clone(), store, metrics));
        let plan = Plan::new(&config.gateway, &counted, &keyring);
        Ok(Self { rest: super::rest(config, &keyring), keyring, plan })
    }

    /// Answers a call.
    pub async fn answer(&self, request: &Request<Bytes>, caller: &Caller) -> Response<Bytes> {
        self.rest.answer(request, caller).await
    }

    /// Does what follows from the calls so far, such as telling an instance of a revocation, for at most so
    /// long. What is left is done by the next gateway that runs on this store.
    pub async fn run_errands(&self, limit: Duration) {
        match tokio::time::timeout(limit, run_errands(&self.keyring, &self.plan)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "errands not run"),
        }
    }
}
