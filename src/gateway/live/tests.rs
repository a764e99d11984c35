//! Exchanges and the end of their credentials, over a real store.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Instant;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tempfile::TempDir;
use tokio::task::LocalSet;

use super::*;
use crate::auth::{self, Credential, LimitSettings, LimitState, Limits, Secret, Verifier};
use crate::http::Lines;
use crate::keys::audit::Actor;
use crate::keys::{
    self, Adoption, Attempt, Keyring, NewKey, Policy, Reason, RevokedBy, StoreSettings, Token, open,
};

const SECRET: &str = "a secret that signs session tokens";
const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    keyring: Keyring,
    keys: Arc<Keys>,
    verifier: Verifier,
    limits: Limits,
    metrics: Arc<Metrics>,
    _folder: TempDir,
}

/// Runs a test where tasks can be spawned on its own thread.
async fn with_bench(test: impl AsyncFnOnce(&Bench)) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoreSettings::Embedded { path: folder.path().join("gateway.db") };
    let ledger = open(&store).await.expect("a store");
    let settings = keys::Settings {
        store,
        cache_entries: 100,
        cache_for: MINUTE,
        lease_for: MINUTE,
        serve_stale_for: Duration::ZERO,
        site: keys::Site::of(&[]),
        copies: 0,
        usage_interval: MINUTE,
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let keyring = Keyring::new(settings, ledger, Arc::clone(&metrics));
    let keys = keyring.of("home");
    let jwt_secrets = vec![Secret::new(SECRET).expect("a secret")];
    let verifier = Verifier::new(&auth::Settings { jwt_secrets }, Arc::clone(&keys));
    let off = LimitSettings { per_key: None, per_address: None, bad_credentials: None, shared: false };
    let limits = Limits::new(off, Arc::new(LimitState::new(&metrics)));
    let bench = Bench { keyring, keys, verifier, limits, metrics, _folder: folder };
    LocalSet::new().run_until(test(&bench)).await;
}

/// What can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Key,
    Disabled,
    User,
    Session,
}

/// A credential, and what is known of it outside.
struct Held {
    text: String,
    user: String,
    key: Option<(String, keys::KeyHash)>,
}

impl Bench {
    fn live(&self) -> Rc<LiveExchanges> {
        LiveExchanges::new(&self.keys, &self.metrics)
    }

    async fn hold(&self, what: What, number: usize) -> Held {
        let user = format!("user-{number}");
        match what {
            What::Key | What::Disabled => {
                let (instance, user_id) = (Arc::from("home"), user.clone());
                let policy = Policy::default();
                let new = NewKey { instance, user_id, user_email: None, name: String::new(), policy };
                let issued = self.keyring.issue(new, &Actor::gateway()).await.expect("a key");
                let key = Some((issued.record.id, issued.record.hash));
                Held { text: Token::expose(&issued.token).to_owned(), user, key }
            }
            What::User | What::Session => {
                let exp =
                    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
                let claims = serde_json::json!({ "id": user, "exp": exp + 900 });
                let signing = EncodingKey::from_secret(SECRET.as_bytes());
                let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signing);
                Held { text: token.expect("a token"), user, key: None }
            }
        }
    }

    async fn verify(&self, held: &Held) -> Result<Identity, Denied> {
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let attempt = Attempt { at: SystemTime::now(), method: "GET", path: "/api/bins", address };
        let claimant = self.limits.claimant(address, Instant::now());
        let credential = Credential::of(held.text.as_bytes());
        let unknown = || async { Ok(Adoption::Unknown) };
        self.verifier.verify(credential, &attempt, &claimant, unknown).await
    }

    async fn end(&self, what: What, held: &Held) {
        let actor = Actor::gateway();
        let done = match (what, &held.key) {
            (What::Key, Some((id, _))) => {
                let reason = Reason { by: RevokedBy::Operator, why: None, actor: &actor };
                self.keyring.revoke("home", id, reason).await.map(drop)
            }
            (What::Disabled, Some((_, hash))) => {
                let disable = |policy: &Policy| Policy { disabled: true, ..policy.clone() };
                self.keyring.amend("home", hash, &actor, disable).await.expect("changed");
                Ok(())
            }
            (What::Session, _) => {
                let session = self.verifier.session_to_end(&held.text, SystemTime::now());
                self.keyring.end_session("home", &session.expect("a session"), &actor).await.map(drop)
            }
            (What::User | What::Key | What::Disabled, _) => {
                self.keyring.block_user("home", &held.user, None, &actor).await.map(drop)
            }
        };
        done.expect("ended");
    }
}

fn line() -> Line {
    Rc::<Lines>::default().open()
}

async fn until_cut(live: &Live) -> Denied {
    for _ in 0..10_000 {
        if let Some(denied) = live.cut() {
            return denied;
        }
        tokio::task::yield_now().await;
    }
    panic!("not cut")
}

/// Lets the follower hear what there is.
async fn let_follow() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn wherever_the_end_comes_between_the_steps_of_a_request_it_is_refused_or_cut() {
    with_bench(async |bench| {
        let live = bench.live();
        let mut number = 0;
        for what in [What::Key, What::Disabled, What::User, What::Session] {
            for (end_at, followed) in (0..=3).flat_map(|step| [(step, false), (step, true)]) {
                number += 1;
                let held = bench.hold(what, number).await;
                bench.verify(&held).await.expect("good so far");
                let end = async |step: usize| {
                    if step == end_at {
                        bench.end(what, &held).await;
                        if followed {
                            let_follow().await;
                        }
                    }
                };
                let case = format!("{what:?} at {end_at}");
                let since = bench.keys.epoch();
                end(0).await;
                let verified = bench.verify(&held).await;
                assert_eq!(verified.is_err(), end_at == 0, "{case}");
                let Ok(identity) = verified else { continue };
                end(1).await;
                let entered = live.enter(&identity, line());
                end(2).await;
                let passed = bench.keys.epoch() != since;
                assert_eq!(passed, end_at < 3, "{case}");
                let looked = look_again(&bench.keys, &identity, SystemTime::now()).await;
                assert_eq!(looked.is_err(), end_at < 3, "{case}");
                end(3).await;
                // Who entered after the notice was read is the one that only the second look finds.
                if end_at > 1 {
                    until_cut(&entered).await;
                }
            }
        }
        let cut = bench.metrics.render().expect("text");
        for reason in ["key", "user", "session"] {
            assert!(cut.contains(&format!("exchanges_cut_total{{reason=\"{reason}\"}}")), "{cut}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_hangs_by_the_ended_credential_is_cut() {
    with_bench(async |bench| {
        let live = bench.live();
        let (one, other) = (bench.hold(What::Key, 1).await, bench.hold(What::Key, 2).await);
        let (session, blocked) = (bench.hold(What::Session, 1).await, bench.hold(What::Session, 3).await);
        let mut entered = Vec::new();
        for held in [&one, &one, &other, &session, &blocked] {
            let identity = bench.verify(held).await.expect("good");
            entered.push(live.enter(&identity, line()));
        }
        entered[1].answer().expect("under way");
        bench.end(What::Key, &one).await;
        bench.end(What::User, &blocked).await;
        assert_eq!(until_cut(&entered[0]).await, Denied::RevokedKey);
        assert_eq!(until_cut(&entered[1]).await, Denied::RevokedKey);
        assert_eq!(until_cut(&entered[4]).await, Denied::BlockedUser);
        assert_eq!((entered[2].cut(), entered[3].cut()), (None, None));
        assert_eq!(entered[0].answer(), Err(Denied::RevokedKey), "no answer may begin any more");
    })
    .await;
}

#[tokio::test]
async fn who_is_exempt_comes_to_its_end() {
    with_bench(async |bench| {
        let live = bench.live();
        let held = bench.hold(What::Session, 1).await;
        let identity = bench.verify(&held).await.expect("good");
        let (exempt, other) = (live.enter(&identity, line()), live.enter(&identity, line()));
        let exemption = exempt.exemption();
        exemption.grant();
        bench.end(What::Session, &held).await;
        until_cut(&other).await;
        assert_eq!((exempt.cut(), exempt.answer()), (None, Ok(())));
    })
    .await;
}

#[tokio::test]
async fn who_missed_notices_looks_at_everything_again() {
    with_bench(async |bench| {
        let live = bench.live();
        if let Some(follower) = live.follower.take() {
            follower.abort();
        }
        let mut held = Vec::new();
        for (number, what) in
            [What::Key, What::Disabled, What::User, What::Session, What::Key].into_iter().enumerate()
        {
            held.push((what, bench.hold(what, number).await));
        }
        let mut entered = Vec::new();
        for (_, held) in &held {
            entered.push(live.enter(&bench.verify(held).await.expect("good"), line()));
        }
        for (what, held) in &held[..4] {
            bench.end(*what, held).await;
        }
        let doubts = live.hear(&Tidings { missed: true, ..Tidings::default() });
        assert_eq!(doubts.len(), 5);
        assert!(live.settle(doubts).await.is_empty());
        let cut: Vec<_> = entered.iter().map(Live::cut).collect();
        let reasons =
            [Denied::RevokedKey, Denied::DisabledKey, Denied::BlockedUser, Denied::EndedSession].map(Some);
        assert_eq!((&cut[..4], cut[4]), (&reasons[..], None));
    })
    .await;
}

#[tokio::test]
async fn a_place_is_free_again_when_its_exchange_is_over() {
    with_bench(async |bench| {
        let live = bench.live();
        let held = bench.hold(What::Session, 1).await;
        let identity = bench.verify(&held).await.expect("good");
        for _ in 0..1_000 {
            let both = (live.enter(&identity, line()), live.enter(&identity, line()));
            drop(both);
        }
        let table = live.table.borrow();
        assert_eq!((table.all.len(), table.free.len()), (2, 2));
        assert!(table.all.iter().all(Option::is_none), "no credential is kept");
    })
    .await;
}

#[tokio::test]
#[ignore = "a measurement: run it alone with --release and --nocapture"]
async fn cost_of_an_exchange() {
    with_bench(async |bench| {
        const ROUNDS: u32 = 2_000_000;
        let (live, lines) = (bench.live(), Rc::<Lines>::default());
        let held = bench.hold(What::Key, 1).await;
        let (identity, line) = (bench.verify(&held).await.expect("good"), lines.open());
        let others: Vec<_> = (0..10_000).map(|_| live.enter(&identity, lines.open())).collect();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let since = bench.keys.epoch();
            let entered = live.enter(std::hint::black_box(&identity), line.clone());
            assert_eq!(bench.keys.epoch(), since);
            assert!(std::hint::black_box(&entered).answer().is_ok());
        }
        eprintln!("an exchange: {:?}", start.elapsed() / ROUNDS);
        let start = Instant::now();
        bench.end(What::Key, &held).await;
        until_cut(&others[0]).await;
        eprintln!("a revocation with {} exchanges of the key: {:?}", others.len(), start.elapsed());
    })
    .await;
}
