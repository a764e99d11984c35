//! How the server is set up, as far as keys depend on it: what it does when its memory is full.

use ::redis::pipe;

use super::super::store::{Concern, StoreError};
use super::RedisStore;

impl RedisStore {
    pub(super) async fn look_around(&self) -> Result<Vec<Concern>, StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("INFO").arg("memory");
        match self.link.run::<(String,)>(&pipeline).await {
            Ok((memory,)) => Ok(concern(&memory).into_iter().collect()),
            // Its rights need not include this.
            Err(StoreError::Refused(_)) => Ok(vec![Concern::Note(
                "its user may not run INFO, so whether it evicts keys is not known (+info would allow it)"
                    .to_owned(),
            )]),
            Err(error) => Err(error),
        }
    }
}

/// What is to be thought of `INFO memory`.
fn concern(memory: &str) -> Option<Concern> {
    let field = |name: &str| {
        let mut lines = memory.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let Some(policy) = field("maxmemory_policy") else {
        return Some(Concern::Note("it does not say what it does when its memory is full".to_owned()));
    };
    let limited = field("maxmemory") != Some("0");
    let mend = "set maxmemory-policy to noeviction";
    match (policy.split('-').next(), limited) {
        (Some("allkeys"), true) => Some(Concern::Forgets(format!(
            "its maxmemory-policy is {policy}: when memory is short it forgets keys and revocations; {mend}"
        ))),
        (Some("allkeys"), false) => Some(Concern::Note(format!(
            "its maxmemory-policy is {policy}: with a maxmemory it would forget keys and revocations; {mend}"
        ))),
        (Some("volatile"), true) => Some(Concern::Note(format!(
            "its maxmemory-policy is {policy}: when memory is short it forgets what has an end; {mend}"
        ))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_evicts_any_key_and_has_a_limit_must_not_be_used() {
        let judged = |limit: &str, policy: &str| {
            let text = format!(
                "# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_human:1B\r\nmaxmemory_policy:{policy}\r\n"
            );
            concern(&text)
        };
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            assert!(matches!(judged("1000", policy), Some(Concern::Forgets(_))), "{policy}");
            assert!(matches!(judged("0", policy), Some(Concern::Note(_))), "{policy}");
        }
        assert!(matches!(judged("1000", "volatile-ttl"), Some(Concern::Note(_))));
        assert_eq!(judged("1000", "noeviction"), None);
        assert_eq!(judged("0", "volatile-ttl"), None);
        assert!(matches!(concern(""), Some(Concern::Note(_))));
    }
}
