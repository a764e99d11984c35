//! Requests to be decided twice: where credentials, cookies, schemes, paths and methods meet in every way. None
//! of them changes anything that another could notice, whoever lets it through.

use std::fmt;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::dice::Dice;
use super::token::{self, Token};

/// Whose credentials are tried. Has no `Debug`: it holds them.
#[derive(Clone, Default)]
pub struct Persona {
    /// The user's id.
    pub user_id: String,
    /// The instance's JWT secret.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// A session token of the user's.
    pub session: Option<String>,
    /// An API key of the user's.
    pub key: Option<String>,
}

/// A request, and what is special about it.
#[derive(Clone, Default)]
pub struct Trial {
    /// Its number in its seed.
    pub number: u64,
    /// Its method.
    pub method: &'static str,
    /// Its target.
    pub target: String,
    /// Whether it goes to the gateway by HTTP/2.
    pub http2: bool,
    pub(super) fields: Vec<Field>,
    pub(super) body: &'static str,
    /// What may make a gateway decide more strictly.
    pub(super) marks: Vec<&'static str>,
}

#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// The value as it may be shown.
    shown: String,
}

/// Makes trials of one persona and seed.
pub(super) struct Trials {
    seed: u64,
    tokens: Vec<Token>,
}

const CSRF: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

const READ: &[&str] = &[
    "/api/auth/me",
    "/api/auth/me",
    "/api/auth/me",
    "/api/auth/me",
    "/api/health",
    "/api/auth/status",
    "/api/bins",
    "/api/api-keys",
    "/api/locations",
    "/api/tags",
    "/api/nothing",
    "/api",
    "/api/auth",
    "/api/auth/nothing",
    "/api/shared/00112233445566778899aabbccddeeff",
    "/api/shared/x",
    "/api/ai/default-prompts",
    "/api/plan",
    "/api/v1/users/x/exists",
    "/api/admin/users",
    "/api/admin/system/audit-log",
    "/api/auth/logout",
    "/api/auth/login",
    "/api/bins/00000000-0000-4000-8000-000000000000",
    "/api/photos/00000000-0000-4000-8000-000000000000/file",
    "/",
    "/index.html",
    "/login",
    "/assets/x.js",
    "/metrics",
    "/apix",
    "/api-docs",
    "/.env",
];

const WRITE: &[(&str, &str)] = &[
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/nothing"),
    ("DELETE", "/api/api-keys/00000000-0000-4000-8000-000000000000"),
    ("DELETE", "/api/bins/00000000-0000-4000-8000-000000000000"),
    ("PUT", "/api/bins/00000000-0000-4000-8000-000000000000"),
    ("DELETE", "/api/photos/00000000-0000-4000-8000-000000000000"),
    ("PUT", "/api/locations/00000000-0000-4000-8000-000000000000"),
    ("DELETE", "/api/admin/users/00000000-0000-4000-8000-000000000000"),
    ("POST", "/api/admin/security/suspend/00000000-0000-4000-8000-000000000000"),
    ("PATCH", "/api/nothing"),
    ("PUT", "/api/auth/nothing"),
    ("POST", "/api/health"),
    ("POST", "/"),
    ("DELETE", "/index.html"),
    ("PROPFIND", "/api/bins"),
    ("PURGE", "/"),
    ("PROPFIND", "/api/auth/status"),
];

impl Trials {
    pub(super) fn new(seed: u64, persona: &Persona, now: SystemTime) -> Self {
        Self { seed, tokens: token::all(persona, now) }
    }

    /// The trial of this number; always the same.
    pub(super) fn number(&self, number: u64) -> Trial {
        let mut dice = Dice::of(self.seed, number);
        let mut trial = Trial { number, http2: dice.once_in(3), ..Trial::default() };
        let path = if dice.once_in(3) {
            let (method, path) = dice.pick(WRITE);
            (trial.method, trial.body) = (method, dice.pick(&["{}", "{}", ""]));
            path
        } else {
            trial.method = dice.pick(&["GET", "GET", "GET", "GET", "HEAD", "OPTIONS"]);
            dice.pick(READ)
        };
        trial.target = target(path, &mut dice, &mut trial.marks);
        // HTTP/2 knows no other targets (RFC 9113 §8.3.1).
        trial.http2 &= trial.target.starts_with('/');
        if !trial.body.is_empty() {
            trial.plain("content-type", "application/json");
        }
        self.authorization(&mut trial, &mut dice);
        self.cookies(&mut trial, &mut dice);
        trial
    }

    fn token(&self, trial: &mut Trial, dice: &mut Dice) -> Token {
        let token = self.tokens.get(dice.below(self.tokens.len())).cloned();
        let token = token.unwrap_or(Token { kind: "junk", text: "junk".to_owned() });
        trial.marks.push(token.kind);
        token
    }

    fn authorization(&self, trial: &mut Trial, dice: &mut Dice) {
        if dice.once_in(3) {
            return;
        }
        let many = dice.once_in(25);
        for _ in 0..=usize::from(many) {
            let token = self.token(trial, dice);
            let scheme = dice.pick(&[
                "Bearer ", "Bearer ", "Bearer ", "Bearer ", "Bearer ", "Bearer ", "bearer ", "BEARER ",
                "Bearer  ", "Bearer\t", "Bearer", "Basic ", "Token ", "",
            ]);
            let tail = dice.pick(&["", "", "", "", "", " ", "\t ", ","]);
            let around = format!("{scheme}{}{tail}", token.text);
            trial.secret("authorization", around, format!("{scheme}<{}>{tail}", token.kind));
        }
        if many {
            trial.marks.push("two Authorization fields");
        }
    }

    fn cookies(&self, trial: &mut Trial, dice: &mut Dice) {
        let mut pairs: Vec<(String, String)> = Vec::new();
        if dice.once_in(2) {
            self.access(trial, dice, &mut pairs);
        }
        let plain = |text: String| (text.clone(), text);
        if dice.once_in(3) {
            pairs.push(plain("openbin-refresh=junk".to_owned()));
        }
        if dice.once_in(2) {
            pairs.push(plain(format!("openbin-csrf={}", dice.pick(&[CSRF, CSRF, CSRF, "", "%41"]))));
        }
        if dice.once_in(8) {
            pairs.push(plain(dice.pick(&["theme=dark", "=x", "x", "openbin-access", "a=b=c"]).to_owned()));
        }
        if dice.once_in(2) {
            trial.plain("x-csrf-token", dice.pick(&[CSRF, CSRF, CSRF, "other", "A"]));
        }
        if pairs.is_empty() {
            return;
        }
        if dice.once_in(4) {
            pairs.into_iter().for_each(|(text, shown)| trial.secret("cookie", text, shown));
        } else {
            let (texts, shown): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            trial.secret("cookie", texts.join("; "), shown.join("; "));
        }
    }

    fn access(&self, trial: &mut Trial, dice: &mut Dice, pairs: &mut Vec<(String, String)>) {
        let many = dice.once_in(20);
        for _ in 0..=usize::from(many) {
            let Token { kind, text } = self.token(trial, dice);
            let name = dice.pick(&[
                "openbin-access",
                "openbin-access",
                "openbin-access",
                "openbin-access",
                "OpenBin-Access",
            ]);
            let text = match dice.below(12) {
                0 => format!("{name}=\"{text}\""),
                1 => format!("{name} = {text} "),
                2 => format!("{name}={}", text.replace('_', "%5F").replace('.', "%2e")),
                3 => format!("{name}={text}%"),
                4 => format!("{name}=j:\"{text}\""),
                _ => format!("{name}={text}"),
            };
            pairs.push((text, format!("{name}=<{kind}>")));
        }
        if many {
            trial.marks.push("two openbin-access cookies");
        }
    }
}

/// A path, spelt in some way.
fn target(path: &str, dice: &mut Dice, marks: &mut Vec<&'static str>) -> String {
    let mut path = path.to_owned();
    let middle = path.get(1..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| at + 1);
    match dice.below(40) {
        0..=3 => path.push('/'),
        4 => path = path.to_ascii_uppercase(),
        5 => path = path.replace("/a", "/A"),
        6 => path.insert(0, '/'),
        7 => path.insert(middle, '/'),
        8 => path.push_str("//"),
        9 => path.insert_str(middle, "/."),
        10 => path.insert_str(0, "/x/.."),
        11 => path = path.replacen('a', "%61", 1),
        12 => path = path.replacen('t', "%74", 1),
        13 => path.push_str(";x=y"),
        14 => path = path.replace("/a", "%2fa"),
        15 => path.push_str("%00"),
        16 => path.push_str("%2e%2e/"),
        17 => path.push('%'),
        18..=20 => path.push_str("?a=b&token=c//d"),
        21 => path.push('?'),
        22 => path = path.replacen("/a", "\\a", 1),
        _ => {}
    }
    let route = path.split('?').next().unwrap_or_default();
    let below =
        route.get(..4).filter(|start| start.eq_ignore_ascii_case("/api")).and_then(|_| route.get(4..));
    if below.is_some_and(|below| below.starts_with('/') && below.contains("//")) {
        marks.push("empty segment");
    }
    path
}

impl Trial {
    /// The plainest request with a credential.
    pub(super) fn with_bearer(target: &str, credential: &str) -> Self {
        let mut trial = Self { method: "GET", target: target.to_owned(), ..Self::default() };
        trial.secret("authorization", format!("Bearer {credential}"), "Bearer <given>".to_owned());
        trial
    }

    fn plain(&mut self, name: &'static str, value: &str) {
        self.secret(name, value.to_owned(), value.to_owned());
    }

    fn secret(&mut self, name: &'static str, value: String, shown: String) {
        // HTTP/2 allows for no white space there (RFC 9113 §8.2.1).
        if self.http2 && value.trim_matches([' ', '\t']) != value {
            self.marks.push("white space around a value in HTTP/2");
        }
        self.fields.push(Field { name, value, shown });
    }
}

/// As it can be told to anybody: credentials by their kind.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.http2 { "HTTP/2" } else { "HTTP/1.1" };
        write!(f, "{} {} {protocol}", self.method, self.target)?;
        for field in &self.fields {
            let shown: String = field.shown.chars().flat_map(char::escape_debug).collect();
            write!(f, " | {}: {shown}", field.name)?;
        }
        if self.body.is_empty() { Ok(()) } else { write!(f, " | {}", self.body) }
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
