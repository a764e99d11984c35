//! How often keys were used, day by day.

use std::time::SystemTime;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::keys::{PARAMETERS, query};
use super::problem::Problem;
use super::view::{DayView, instant, read_day};
use super::{Answer, Call, Rest};
use crate::keys::{AddressFamily, Day, KeyRecord};

/// Which keys, as in lists of them, and since which day.
pub(super) const USAGE_PARAMETERS: [&str; 8] = {
    let [instance, user, text, standing, unused_for, cursor, limit] = PARAMETERS;
    [instance, user, text, standing, unused_for, cursor, limit, SINCE]
};
const SINCE: &str = "since";

/// How often a key was used.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UsageView {
    instance: String,
    id: String,
    prefix: String,
    name: String,
    user_id: String,
    user_email: Option<String>,
    last_used_at: Option<String>,
    last_used_over: Option<&'static str>,
    /// On all of these days together.
    requests: u64,
    /// The newest first; days without use are left out.
    days: Vec<DayView>,
}

impl Rest {
    pub(super) async fn show_usage(&self, call: &Call<'_>) -> Answer {
        let now = SystemTime::now();
        let given = call.parameters(&USAGE_PARAMETERS)?;
        let (since, of_keys): (Vec<_>, Vec<_>) = given.into_iter().partition(|(name, _)| name == SINCE);
        let since = match since.last() {
            Some((_, day)) => {
                read_day(day).ok_or_else(|| Problem::bad("since is a day such as 2027-01-31"))?
            }
            None => 0,
        };
        let ledger = self.keyring.ledger();
        let page = ledger.list(&query(of_keys, now)?, now).await?;
        let mut usage = Vec::with_capacity(page.records.len());
        for (record, mut days) in ledger.with_days(&page.records).await? {
            days.retain(|day| day.day >= since);
            usage.push(UsageView::of(record, days));
        }
        let next = page.next.map(|cursor| cursor.to_string());
        Ok((StatusCode::OK, json!({ "usage": usage, "next": next, "usage_fresh_within": self.freshness() })))
    }
}

impl UsageView {
    fn of(record: KeyRecord, days: Vec<Day>) -> Self {
        Self {
            instance: record.instance.to_string(),
            id: record.id,
            prefix: record.prefix,
            name: record.name,
            user_id: record.user_id,
            user_email: record.user_email,
            last_used_at: record.last_used_at.map(instant),
            last_used_over: record.last_used_over.map(AddressFamily::as_str),
            requests: days.iter().map(|day| day.count).sum(),
            days: days.into_iter().map(DayView::of).collect(),
        }
    }
}
