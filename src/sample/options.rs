//! What a sample is made from.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;

use super::answer::Dress;
use super::body::{EventPlan, Tally};
use super::cookie::Jar;
use super::jwt::Signer;
use super::record::Ring;
use super::state::{Bin, Role, Standing, State, User, random_hex, uuid};
use super::{Sample, World};

/// What a [`Sample`] is made from.
#[derive(Clone)]
pub struct SampleOptions {
    /// The secret of session tokens, as `JWT_SECRET` would be; random by default.
    pub secret: String,
    /// The accounts at the start.
    pub users: Vec<SampleUser>,
    /// As OpenBin's `TRUST_PROXY`: cookies carry `Secure`, and HSTS is sent. Default true.
    pub trust_proxy: bool,
    /// As OpenBin's `CORS_ORIGIN`.
    pub cors_origin: String,
    /// How the assistant's stream goes: by default ten events, a tenth of a second apart.
    pub event_plan: EventPlan,
    /// The size of every photo; by default 256 KiB.
    pub photo_bytes: u64,
    /// The largest photo that may be uploaded; by default 5 MiB.
    pub max_photo_bytes: u64,
    /// How many requests are remembered; by default the last 1000.
    pub recorded: usize,
}

/// An account that a sample begins with.
#[derive(Clone)]
pub struct SampleUser {
    /// Its e-mail address.
    pub email: String,
    /// Its password.
    pub password: String,
    /// What it may do.
    pub role: Role,
}

impl SampleUser {
    /// The account of a member.
    #[must_use]
    pub fn member(email: &str, password: &str) -> Self {
        Self { email: email.to_owned(), password: password.to_owned(), role: Role::Member }
    }

    /// The account of an administrator.
    #[must_use]
    pub fn admin(email: &str, password: &str) -> Self {
        Self { role: Role::Admin, ..Self::member(email, password) }
    }
}

/// Never shows the secret or a password.
impl std::fmt::Debug for SampleOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampleOptions")
            .field("users", &self.users.iter().map(|user| &user.email).collect::<Vec<_>>())
            .field("trust_proxy", &self.trust_proxy)
            .finish_non_exhaustive()
    }
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            secret: random_hex::<32>(),
            users: Vec::new(),
            trust_proxy: true,
            cors_origin: "http://localhost:5173".to_owned(),
            event_plan: EventPlan { events: 10, interval: Duration::from_millis(100) },
            photo_bytes: 256 * 1024,
            max_photo_bytes: 5 * 1024 * 1024,
            recorded: 1000,
        }
    }
}

impl Sample {
    /// Makes a sample with its accounts, three bins and no keys.
    #[must_use]
    pub fn new(options: SampleOptions) -> Self {
        let now = SystemTime::now();
        let signer = Signer::new(&options.secret);
        let users = options.users.iter().map(|user| account(user, &signer, now)).collect();
        let origin = HeaderValue::from_str(&options.cors_origin);
        Self(Arc::new(World {
            share_token: random_hex::<16>(),
            jar: Jar { secure: options.trust_proxy },
            dress: Dress {
                origin: origin.unwrap_or(HeaderValue::from_static("null")),
                trust_proxy: options.trust_proxy,
            },
            event_plan: options.event_plan,
            photo_bytes: options.photo_bytes,
            max_photo_bytes: options.max_photo_bytes,
            streams: Arc::<Tally>::default(),
            downloads: Arc::default(),
            uploads: Arc::default(),
            state: Mutex::new(State::new(users, bins(now))),
            ring: Mutex::new(Ring::new(options.recorded)),
            signer,
            secret: options.secret,
        }))
    }
}

pub(super) fn account(user: &SampleUser, signer: &Signer, now: SystemTime) -> User {
    User {
        id: uuid(),
        email: user.email.trim().to_lowercase(),
        display_name: user.email.split('@').next().unwrap_or_default().to_owned(),
        password_digest: signer.digest(&user.password),
        role: user.role,
        standing: Standing::Good,
        token_version: 0,
        created_at: now,
    }
}

fn bins(now: SystemTime) -> Vec<Bin> {
    let bin = |name: &str, notes: &str| Bin {
        id: uuid(),
        name: name.to_owned(),
        notes: notes.to_owned(),
        created_at: now,
    };
    vec![
        bin("Tent and sleeping bags", "Loft, left of the hatch"),
        bin("Cables", "USB, HDMI, the odd SCART"),
        bin("Winter tyres", "Garage; fit before the first frost"),
    ]
}
