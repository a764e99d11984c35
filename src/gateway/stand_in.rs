//! Session tokens that stand in for API keys towards an instance that did not issue them.
//!
//! The key itself never reaches the instance: it is replaced where it stands. A cookie stays a cookie, since
//! a `Bearer` in its place would switch OpenBin's CSRF protection off. Judges nobody: it is given a verified
//! identity, or none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use moka::sync::Cache;
use zeroize::Zeroizing;

use super::credential::{ACCESS_COOKIE, BEARER, bearer, cookie};
use crate::auth::{Identity, Minter};
use crate::http::Refusal;
use crate::keys::{ActiveKey, Issuer, Label, PREFIX};

/// For how long a token is good.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// One that is good for less than this is not sent any more: the instance must find it good, too.
const RENEWED_BEFORE: Duration = Duration::from_secs(20);
/// Users whose token is kept.
const MOST_USERS: u64 = 10_000;
/// Stands where a key stood that is not to act: no token, and nothing that begins like a key.
const NOBODY: &[u8] = b"none";

/// The stand-ins for one instance's keys.
pub(super) struct StandIns {
    minter: Option<Minter>,
    minted: Cache<(Label, Option<Label>), Arc<StandIn>>,
    /// Whether every key has one, whoever issued it.
    for_all: bool,
}

/// As whom a request that brings a key acts at the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acts {
    /// As the key's owner.
    AsOwner,
    /// As nobody: the route takes no key.
    AsNobody,
}

/// A token for one user.
struct StandIn {
    token: Zeroizing<String>,
    until: SystemTime,
}

impl StandIns {
    /// For keys that the gateway issued, and all others where it issues the instance's keys.
    pub(super) fn new(minter: Option<Minter>, issuer: Issuer) -> Self {
        let for_all = match issuer {
            Issuer::Gateway => true,
            Issuer::Openbin => false,
        };
        Self { minter, minted: Cache::new(MOST_USERS), for_all }
    }

    /// Replaces every key in the fields that carry credentials: the one that was verified by a token for its
    /// owner where the request acts as them, any other by nothing.
    ///
    /// # Errors
    /// Where no token can be made, so that the request cannot be sent on.
    pub(super) fn put_in(
        &self,
        headers: &mut HeaderMap,
        identity: Option<&Identity>,
        acts: Acts,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        self.replace(headers, identity.and_then(Identity::active_key), acts, now)
    }

    fn replace(
        &self,
        headers: &mut HeaderMap,
        key: Option<&ActiveKey>,
        acts: Acts,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let is_ours = key.is_some_and(|key| key.record.issuer == Issuer::Gateway);
        if !self.for_all && !is_ours {
            return Ok(());
        }
        let stand_in = match (key, acts) {
            (Some(key), Acts::AsOwner) => Some(self.of(key, now)?),
            (Some(_), Acts::AsNobody) | (None, _) => None,
        };
        let token = stand_in.as_ref().map_or(NOBODY, |stand_in| stand_in.token.as_bytes());
        let of_cookies = if bearer(headers).is_some() { NOBODY } else { token };
        for (name, value) in headers.iter_mut() {
            let replaced = match *name {
                AUTHORIZATION => authorization(value.as_bytes(), token),
                COOKIE => cookies(value.as_bytes(), of_cookies),
                _ => None,
            };
            if let Some(replaced) = replaced {
                *value = HeaderValue::try_from(replaced).map_err(|_| Refusal::Internal)?;
                value.set_sensitive(true);
            }
        }
        Ok(())
    }

    fn of(&self, key: &ActiveKey, now: SystemTime) -> Result<Arc<StandIn>, Refusal> {
        let user = (key.user_id.clone(), key.user_email.clone());
        if let Some(held) = self.minted.get(&user).filter(|held| held.is_good_at(now)) {
            return Ok(held);
        }
        let (id, email) = (&key.record.user_id, key.record.user_email.as_deref());
        let minted = self.minter.as_ref().and_then(|minter| minter.mint(id, email, now, GOOD_FOR));
        let Some(token) = minted else {
            tracing::error!("no session can be made to stand in for a key");
            return Err(Refusal::Internal);
        };
        let stand_in = Arc::new(StandIn { token, until: now + GOOD_FOR });
        self.minted.insert(user, Arc::clone(&stand_in));
        Ok(stand_in)
    }
}

impl StandIn {
    /// Also not from before a clock was set back: the instance would take it for too long.
    fn is_good_at(&self, now: SystemTime) -> bool {
        self.until.duration_since(now).is_ok_and(|left| left >= RENEWED_BEFORE && left <= GOOD_FOR)
    }
}

/// The field with another token, where it has a key. Under any other scheme OpenBin reads none, so that
/// nothing is left of it there.
fn authorization(field: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    let has_key = field.windows(PREFIX.len()).any(|part| part == PREFIX.as_bytes());
    let is_bearer = field.trim_ascii_start().starts_with(BEARER);
    has_key.then(|| if is_bearer { [BEARER, token].concat() } else { NOBODY.to_vec() })
}

/// The field with another value of the session's cookie, where that is a key. Other cookies stay as they are.
fn cookies(field: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    let pairs = || field.split(|byte| *byte == b';');
    let is_key =
        |pair: &[u8]| cookie(pair, ACCESS_COOKIE).is_some_and(|value| value.starts_with(PREFIX.as_bytes()));
    if !pairs().any(is_key) {
        return None;
    }
    let mut out = Vec::with_capacity(field.len() + token.len());
    for (place, pair) in pairs().enumerate() {
        if place > 0 {
            out.push(b';');
        }
        if is_key(pair) {
            out.extend_from_slice(if place > 0 { b" " } else { b"" });
            out.extend_from_slice(ACCESS_COOKIE);
            out.push(b'=');
            out.extend_from_slice(token);
        } else {
            out.extend_from_slice(pair);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::keys::{KeyHash, KeyRecord, Policy};

    const KEY: &str = "sk_openbin_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn key(user: &str, issuer: Issuer) -> ActiveKey {
        let record = KeyRecord {
            hash: KeyHash::of(KEY),
            id: "k-1".to_owned(),
            instance: "home".into(),
            user_id: user.to_owned(),
            user_email: Some(format!("{user}@example.com")),
            name: String::new(),
            prefix: KEY[..18].to_owned(),
            issuer,
            created_at: None,
            last_used_at: None,
            last_used_over: None,
            policy: Policy::default(),
            revoked: None,
        };
        ActiveKey::new(record).expect("active")
    }

    fn stand_ins(issuer: Issuer) -> StandIns {
        StandIns::new(Secret::new("s3cret").as_ref().map(Minter::new), issuer)
    }

    fn fields(given: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        };
        given.iter().map(field).collect()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    /// The credentials that an instance gets.
    fn sent(given: &[(&'static str, &str)], key: Option<&ActiveKey>, acts: Acts) -> (String, String) {
        let mut headers = fields(given);
        stand_ins(Issuer::Gateway).replace(&mut headers, key, acts, at(0)).expect("sent on");
        let text = |name| {
            let value = headers.get(name).map(|value: &HeaderValue| value.to_str().expect("text").to_owned());
            value.unwrap_or_default().replace(&*token(0), "TOKEN")
        };
        (text(AUTHORIZATION), text(COOKIE))
    }

    fn token(seconds: u64) -> Zeroizing<String> {
        let minter = Secret::new("s3cret").as_ref().map(Minter::new).expect("a secret");
        minter.mint("ann", Some("ann@example.com"), at(seconds), GOOD_FOR).expect("a token")
    }

    #[test]
    fn a_key_is_replaced_where_it_stands() {
        let (ann, bearer, cookie) =
            (key("ann", Issuer::Gateway), format!("Bearer {KEY}"), format!("openbin-access={KEY}"));
        let (header, none) = sent(&[("authorization", &bearer)], Some(&ann), Acts::AsOwner);
        assert_eq!((&*header, &*none), ("Bearer TOKEN", ""));
        let among = format!("a=b; {cookie}; openbin-csrf=c;x");
        let (none, header) = sent(&[("cookie", &among)], Some(&ann), Acts::AsOwner);
        assert_eq!((&*none, &*header), ("", "a=b; openbin-access=TOKEN; openbin-csrf=c;x"));
        for spelling in [
            "openbin-access=\"{}\"",
            " openbin-access = {}",
            "openbin-access=j:\"{}\"",
            "openbin-access=%73k{}",
        ] {
            let part = if spelling.contains("%73k") { &KEY[2..] } else { KEY };
            let (_, header) = sent(&[("cookie", &spelling.replace("{}", part))], Some(&ann), Acts::AsOwner);
            assert_eq!(header, "openbin-access=TOKEN", "{spelling}");
        }
    }

    #[test]
    fn no_other_key_reaches_the_instance() {
        let (ann, bearer, cookie) =
            (key("ann", Issuer::Openbin), format!("Bearer {KEY}"), format!("openbin-access={KEY}"));
        let both = [("authorization", &*bearer), ("cookie", &*cookie)];
        let of_both = sent(&both, Some(&ann), Acts::AsOwner);
        assert_eq!(of_both, ("Bearer TOKEN".to_owned(), "openbin-access=none".to_owned()));
        let refused = sent(&both, None, Acts::AsNobody);
        assert_eq!(refused, ("Bearer none".to_owned(), "openbin-access=none".to_owned()));
        assert_eq!(sent(&both[..1], Some(&ann), Acts::AsNobody).0, "Bearer none");
        assert_eq!(sent(&[("authorization", &format!("bearer {KEY}"))], None, Acts::AsNobody).0, "none");
        let session = [("authorization", "Bearer a.b.c"), ("cookie", &*cookie)];
        assert_eq!(
            sent(&session, None, Acts::AsNobody),
            ("Bearer a.b.c".to_owned(), "openbin-access=none".to_owned())
        );
    }

    #[test]
    fn what_is_no_key_stays_as_it_is() {
        for given in [("authorization", "Bearer a.b.c"), ("authorization", "Basic x"), ("authorization", "")]
        {
            assert_eq!(sent(&[given], None, Acts::AsNobody).0, given.1);
        }
        let odd = ";; openbin-access=a.b.c ;x; other=sk_openbin_;";
        assert_eq!(sent(&[("cookie", odd)], None, Acts::AsNobody).1, odd);
    }

    #[test]
    fn an_instance_that_issues_its_keys_gets_them_but_none_of_the_gateways() {
        let stand_ins = stand_ins(Issuer::Openbin);
        let bearer = format!("Bearer {KEY}");
        for (issuer, kept) in [(Issuer::Openbin, true), (Issuer::Gateway, false)] {
            for acts in [Acts::AsOwner, Acts::AsNobody] {
                let mut headers = fields(&[("authorization", &bearer)]);
                stand_ins.replace(&mut headers, Some(&key("ann", issuer)), acts, at(0)).expect("sent on");
                assert_eq!(headers[AUTHORIZATION] == bearer, kept, "{issuer:?} {acts:?}");
            }
        }
    }

    #[test]
    fn a_token_is_kept_for_its_user_and_renewed_before_it_runs_out() {
        let (stand_ins, ann, bob) =
            (stand_ins(Issuer::Gateway), key("ann", Issuer::Gateway), key("bob", Issuer::Gateway));
        let token_at = |key, seconds| stand_ins.of(key, at(seconds)).expect("a token").token.to_string();
        let first = token_at(&ann, 0);
        assert_eq!(first, *token(0));
        assert_eq!(token_at(&ann, 40), first);
        assert_ne!(token_at(&bob, 40), first);
        let second = token_at(&ann, 41);
        assert_eq!(second, *token(41));
        assert_eq!(token_at(&ann, 81), second);
        assert_eq!(token_at(&ann, 500), *token(500));
        assert_eq!(token_at(&ann, 3), *token(3), "a clock that was set back");
    }

    #[test]
    fn without_a_secret_nothing_is_sent_on() {
        let stand_ins = StandIns::new(None, Issuer::Gateway);
        let mut headers = fields(&[("authorization", &format!("Bearer {KEY}"))]);
        let sent = stand_ins.replace(&mut headers, Some(&key("ann", Issuer::Gateway)), Acts::AsOwner, at(0));
        assert_eq!(sent, Err(Refusal::Internal));
    }
}
