//! Keeps the store from growing for ever: what is older than it is to be kept goes, an hour after the last time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::keys::{Keyring, Rest, Retention, StoreError, Trimmed};

const EVERY: Duration = Duration::from_secs(3600);

/// Tidies up again and again. Every gateway of a store does: what one has done the next finds done.
pub(super) async fn tidy(keyring: Arc<Keyring>, retention: Retention) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rest = Rest::default();
    loop {
        tick.tick().await;
        let now = SystemTime::now();
        if let Err(error) = trim(&keyring, &retention, now).await {
            tracing::warn!(%error, "old audit entries not removed yet");
        }
        if let Err(error) = keyring.forget_old(&retention, now, &mut rest).await {
            tracing::warn!(%error, "old use and errands not forgotten yet");
        }
    }
}

async fn trim(keyring: &Keyring, retention: &Retention, now: SystemTime) -> Result<(), StoreError> {
    let Some(keep_for) = retention.audit else { return Ok(()) };
    match keyring.trim_audit(keep_for, now).await? {
        Trimmed::Nothing => {}
        Trimmed::Done { entries, to } => {
            tracing::info!(entries, up_to = to.seq, hash = to.hash, "old audit entries removed");
        }
        Trimmed::Broken(broken) => {
            let what =
                "the audit chain is not whole, and nothing of it is removed: `audit verify` tells more";
            tracing::error!(%broken, "{what}");
        }
    }
    Ok(())
}
