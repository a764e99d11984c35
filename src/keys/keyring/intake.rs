//! Keys that are taken over from elsewhere.

use super::{Keyring, about};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::store::watch;
use crate::keys::{KeyRecord, Learned, StoreError};

impl Keyring {
    /// Takes over keys that are known elsewhere, and tells what became of each. None is remembered before
    /// it is used, so that nothing that is in use has to make room.
    ///
    /// # Errors
    /// Where the store could not write them; some may be taken over then. It can be repeated.
    pub async fn import(
        &self,
        instance: &str,
        records: Vec<KeyRecord>,
        actor: &Actor,
    ) -> Result<Vec<Learned>, StoreError> {
        let records = imported(instance, records, actor);
        let learned = watch(&self.metrics, self.store.learn_all(&records).await);
        // Also where it failed: some may have been taken over.
        let keys = self.of(instance);
        for (record, _) in &records {
            keys.forget(&record.hash).await;
        }
        learned
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
