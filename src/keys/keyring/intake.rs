//! Keys that are taken over from elsewhere.

use super::{Keyring, Reason, about};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::lease::Whom;
use crate::keys::store::watch;
use crate::keys::{KeyRecord, Learned, RevokedBy, StoreError};

/// What became of keys that were taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// What the store made of each.
    pub learned: Vec<Learned>,
    /// Whether no gateway anywhere accepts those any more that were good here and are revoked elsewhere.
    pub everywhere: bool,
}

impl Keyring {
    /// Takes over keys that are known elsewhere, and tells what became of each. None is remembered before
    /// it is used, so that nothing that is in use has to make room. A key that is good here and revoked
    /// elsewhere is revoked here, too.
    ///
    /// # Errors
    /// Where the store could not write them; some may be taken over then. It can be repeated.
    pub async fn import(
        &self,
        instance: &str,
        records: Vec<KeyRecord>,
        actor: &Actor,
    ) -> Result<Intake, StoreError> {
        let records = imported(instance, records, actor);
        let learned = watch(&self.metrics, self.store.learn_all(&records).await);
        // Also where it failed: some may have been taken over.
        let keys = self.of(instance);
        for (record, _) in &records {
            keys.forget(&record.hash).await;
        }
        let learned = learned?;
        let mut last = None;
        for ((record, _), learned) in records.iter().zip(&learned) {
            let Some(known) = learned.outliving(record) else { continue };
            let why = Some("it is revoked where it was imported from");
            let reason = Reason { by: RevokedBy::Mirror, why, actor };
            last = Some(self.end(instance, &known.id, reason).await?.position);
        }
        let everywhere = match last {
            Some(position) => self.confirm(&position, Whom::Key).await,
            None => true,
        };
        Ok(Intake { learned, everywhere })
    }

    /// What [`Keyring::import`] would come to.
    ///
    /// # Errors
    /// Where the store could not answer.
    pub async fn foresee(
        &self,
        instance: &str,
        records: Vec<KeyRecord>,
        actor: &Actor,
    ) -> Result<Vec<Learned>, StoreError> {
        let records = imported(instance, records, actor);
        watch(&self.metrics, self.store.foresee(&records).await)
    }
}

impl Learned {
    /// What is known here of a key that is good here, although it is revoked where this record comes from.
    #[must_use]
    pub fn outliving(&self, record: &KeyRecord) -> Option<&KeyRecord> {
        match self {
            Self::Known(known) => (record.revoked.is_some() && known.revoked.is_none()).then_some(known),
            Self::Written | Self::Revoked | Self::TooMany => None,
        }
    }
}

/// Keys that are taken over, each with its event.
fn imported(instance: &str, records: Vec<KeyRecord>, actor: &Actor) -> Vec<(KeyRecord, Event)> {
    let with_event = |record: KeyRecord| {
        let mut event = about(actor, Action::KeyImported, instance);
        event.key_id = Some(record.id.clone());
        event.user_id = Some(record.user_id.clone());
        (record, event)
    };
    records.into_iter().map(with_event).collect()
}
