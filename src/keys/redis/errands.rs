//! What is still to be done about keys: an entry for each errand, and those that are pending by their time.

use std::time::SystemTime;

use ::redis::pipe;

use super::super::errand::{Errand, Settled, State, Task};
use super::super::store::{StoreError, millis};
use super::RedisStore;
use super::fields::{Fields, Written, parse_time};
use super::records::in_pairs;

const SCHEDULE: &str = include_str!("scripts/schedule.lua");
const SETTLE: &str = include_str!("scripts/settle.lua");
const CLAIM: &str = include_str!("scripts/claim.lua");

impl RedisStore {
    /// Written whole: written twice, it is the same.
    pub(super) async fn take_on(&self, errand: &Errand) -> Result<(), StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(SCHEDULE).arg(3);
        pipeline.arg(self.name_of(errand)).arg(self.names.due()).arg(self.names.over());
        pipeline.arg(millis(errand.due)).arg(errand.state.as_str()).arg(write(errand)).ignore();
        self.link.run(&pipeline).await
    }

    /// Where the answer is lost, the second try claims nothing: the errands come again at `until`.
    pub(super) async fn claim(
        &self,
        now: SystemTime,
        until: SystemTime,
        most: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(CLAIM).arg(1).arg(self.names.due());
        pipeline.arg(millis(now)).arg(millis(until)).arg(most);
        let (claimed,): (Vec<Vec<String>>,) = self.link.run(&pipeline).await?;
        claimed.into_iter().map(|fields| read_strictly(&in_pairs(fields))).collect()
    }

    pub(super) async fn note(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(SETTLE).arg(3);
        pipeline.arg(self.name_of(errand)).arg(self.names.due()).arg(self.names.over());
        pipeline.arg(millis(settled.due)).arg(settled.state.as_str()).arg(&settled.note).ignore();
        self.link.run(&pipeline).await
    }

    pub(super) async fn errands(&self, instance: &str, key_id: &str) -> Result<Vec<Errand>, StoreError> {
        let mut pipeline = pipe();
        for task in [Task::End, Task::Tell] {
            pipeline.cmd("HGETALL").arg(self.names.errand(instance, key_id, task));
        }
        let found: Vec<Fields> = self.link.run(&pipeline).await?;
        found.iter().filter(|fields| !fields.is_empty()).map(read_strictly).collect()
    }

    fn name_of(&self, errand: &Errand) -> String {
        self.names.errand(&errand.instance, &errand.key_id, errand.task)
    }
}

fn write(errand: &Errand) -> Written {
    [
        ("instance", Some(errand.instance.clone())),
        ("key_id", Some(errand.key_id.clone())),
        ("task", Some(errand.task.as_str().to_owned())),
        ("user_id", Some(errand.user_id.clone())),
        ("user_email", errand.user_email.clone()),
        ("state", Some(errand.state.as_str().to_owned())),
        ("due", Some(millis(errand.due).to_string())),
        ("tries", Some(errand.tries.to_string())),
        ("note", errand.note.clone()),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?)))
    .collect()
}

fn read_strictly(fields: &Fields) -> Result<Errand, StoreError> {
    let key = fields.get("key_id").map_or("unknown", String::as_str);
    read(fields).ok_or_else(|| StoreError::Corrupt(format!("an errand of key {key} cannot be read")))
}

fn read(fields: &Fields) -> Option<Errand> {
    let text = |field: &str| fields.get(field).cloned();
    Some(Errand {
        instance: text("instance")?,
        key_id: text("key_id")?,
        task: Task::from_text(&text("task")?)?,
        user_id: text("user_id")?,
        user_email: text("user_email"),
        state: State::from_text(&text("state")?)?,
        due: parse_time(&text("due")?)?,
        tries: text("tries")?.parse().ok()?,
        note: text("note"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_is_read_back_as_it_was_written_and_strictly() {
        let errand = Errand {
            instance: "home".to_owned(),
            key_id: "k".to_owned(),
            user_id: "u".to_owned(),
            user_email: None,
            task: Task::End,
            state: State::Refused,
            due: SystemTime::UNIX_EPOCH,
            tries: 3,
            note: Some("no such key".to_owned()),
        };
        let fields: Fields =
            write(&errand).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(read(&fields), Some(errand));
        for (field, value) in [("task", "x"), ("state", "x"), ("due", "-1"), ("tries", "x")] {
            let mut fields = fields.clone();
            fields.insert(field.to_owned(), value.to_owned());
            let error = read_strictly(&fields).expect_err(field);
            assert!(error.to_string().contains("key k"), "{error}");
        }
    }
}
