//! Where the Redis servers of `store` are: at a URL, wherever sentinels say, or in a cluster; and how they let in.

use zeroize::Zeroizing;

use super::secret::{io_text, secrets};
use crate::config::read::{Field, Section};
use crate::config::scalar::shown;
use crate::keys::{Address, Login, Place, RedisTls, RedisUrl, Servers, TlsProblem};

/// What a store in Redis has, beside its namespace and its time limit.
pub(super) const KEYS: [&str; 15] = [
    "url",
    "sentinels",
    "master",
    "cluster",
    "user",
    "password_file",
    "password_env",
    "database",
    "sentinel_user",
    "sentinel_password_file",
    "sentinel_password_env",
    "tls",
    "ca_file",
    "certificate",
    "key",
];

const SENTINEL_PORT: u16 = 26379;
const PORT: u16 = 6379;
const MOST_DATABASES: u64 = 65_536;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Sentinels,
    Cluster,
}

/// The servers of a store in Redis.
pub(super) fn servers(section: &Section<'_>) -> Option<Servers> {
    let kind = kind(section)?;
    refuse_what_belongs_elsewhere(section, kind);
    let (file, variable) = (section.field("password_file"), section.field("password_env"));
    let password = secrets(&file, &variable).and_then(|passwords| passwords.into_iter().next());
    let user = section.field("user").text().map(str::to_owned);
    match kind {
        Kind::One => one(section, password),
        Kind::Sentinels => sentinels(section, Login { user, password }),
        Kind::Cluster => {
            let nodes = addresses(&section.field("cluster"), PORT);
            let tls = tls(section, wants_tls(section));
            Some(Servers {
                place: Place::Cluster { nodes: nodes?, login: Login { user, password } },
                tls: tls?,
            })
        }
    }
}

fn kind(section: &Section<'_>) -> Option<Kind> {
    let kinds = [("url", Kind::One), ("sentinels", Kind::Sentinels), ("cluster", Kind::Cluster)];
    let mut given = kinds.into_iter().filter(|(key, _)| section.field(key).given());
    let Some((first, kind)) = given.next() else {
        let mend = "write it like redis://127.0.0.1:6379/0, or name store.sentinels or store.cluster";
        section.field("url").wrong("a Redis store needs a URL", mend);
        return None;
    };
    for (key, _) in given {
        section.field(key).wrong(
            format!("store.{first} says already where the store is"),
            "keep one of url, sentinels and cluster",
        );
    }
    Some(kind)
}

fn refuse_what_belongs_elsewhere(section: &Section<'_>, kind: Kind) {
    let refuse = |keys: &[&'static str], what: &str, mend: &str| {
        for field in keys.iter().map(|key| section.field(key)).filter(Field::given) {
            field.wrong(what, mend);
        }
    };
    let of_sentinels = ["master", "sentinel_user", "sentinel_password_file", "sentinel_password_env"];
    if kind != Kind::Sentinels {
        refuse(
            &of_sentinels,
            "this belongs to sentinels, and none are named",
            "name store.sentinels, or remove it",
        );
    }
    match kind {
        Kind::One => {
            refuse(&["user"], "the user stands in the URL", "write redis://USER@host:6379/0");
            refuse(&["database"], "the database stands in the URL", "write redis://host:6379/NUMBER");
            refuse(&["tls"], "the URL says whether there is TLS", "write rediss:// for TLS");
        }
        Kind::Cluster => refuse(&["database"], "a cluster has no databases", "remove it"),
        Kind::Sentinels => {}
    }
}

fn one(section: &Section<'_>, password: Option<Zeroizing<String>>) -> Option<Servers> {
    let field = section.field("url");
    let text = field.text()?;
    let Some(parts) = Parts::of(text) else {
        field
            .wrong("this is not a Redis URL", "write it like redis://127.0.0.1:6379/0, or rediss:// for TLS");
        return None;
    };
    if parts.password.is_some() {
        warn_of_exposure(&field);
    }
    if parts.password.is_some() && password.is_some() {
        field.wrong("the URL holds a password, and there is another in a file", "keep one of the two");
    }
    let url = RedisUrl::new(parts.with(password.as_ref().map(|password| password.as_str())));
    let tls = tls(section, Some(parts.scheme == "rediss"));
    Some(Servers { place: Place::One(url), tls: tls? })
}

fn sentinels(section: &Section<'_>, login: Login) -> Option<Servers> {
    let sentinels = addresses(&section.field("sentinels"), SENTINEL_PORT);
    let master = section.field("master");
    if !master.given() {
        let what = "sentinels watch over masters by name, and none is named";
        master.wrong(what, "write store.master as in the sentinels' own configuration, such as mymaster");
    }
    let is_name = |text: &str| (!text.contains(char::is_whitespace)).then(|| text.to_owned());
    let master = master.parsed("the name of a master", is_name);
    let database = section.field("database").count(0..=MOST_DATABASES, 0);
    let file = section.field("sentinel_password_file");
    let passwords = secrets(&file, &section.field("sentinel_password_env"));
    let user = section.field("sentinel_user").text().map(str::to_owned);
    let password = passwords.and_then(|passwords| passwords.into_iter().next());
    let tls = tls(section, wants_tls(section));
    let place = Place::Sentinels {
        sentinels: sentinels?,
        master: master?,
        sentinel_login: Login { user, password },
        login,
        database: u32::try_from(database).unwrap_or(0),
    };
    Some(Servers { place, tls: tls? })
}

fn addresses(field: &Field<'_>, default_port: u16) -> Option<Vec<Address>> {
    let texts = field.texts();
    if texts.is_empty() {
        field.wrong("no server is named here", "write [host:port, …]");
    }
    let read = |(field, text): (Field<'_>, &str)| {
        let address = Address::parse(text, default_port);
        if address.is_none() {
            let what = format!("\"{}\" is not a server's address", shown(text));
            field.wrong(what, format!("write it like redis-1.example.internal:{default_port}"));
        }
        address
    };
    let addresses: Option<Vec<_>> = texts.into_iter().map(read).collect();
    addresses.filter(|addresses| !addresses.is_empty())
}

/// As it says; else where there is anything that only TLS has use for. `None`: it says what cannot be.
fn wants_tls(section: &Section<'_>) -> Option<bool> {
    let implied = ["ca_file", "certificate", "key"].iter().any(|key| section.field(key).given());
    Some(section.field("tls").choice(&[("true", true), ("false", false)], implied))
}

/// `None`: something is wrong; `Some(None)`: no TLS.
fn tls(section: &Section<'_>, wanted: Option<bool>) -> Option<Option<RedisTls>> {
    let [authorities, certificate, key] = ["ca_file", "certificate", "key"].map(|key| section.field(key));
    if !wanted? {
        for field in [&authorities, &certificate, &key].into_iter().filter(|field| field.given()) {
            let mend = "write rediss:// in store.url, or store.tls: true beside sentinels or cluster";
            field.wrong("this belongs to TLS, and the store is reached without", mend);
        }
        return Some(None);
    }
    for (one, other, name) in [(&certificate, &key, "key"), (&key, &certificate, "certificate")] {
        if one.given() && !other.given() {
            one.wrong("a certificate is shown only with its key", format!("name store.{name}, too"));
        }
    }
    let text = |field: &Field<'_>| field.given().then(|| content(field));
    let (authorities_text, chain, key) = (text(&authorities), text(&certificate), text(&key));
    let authorities_text = authorities_text.map_or(Some(None), |text| text.map(Some))?;
    let pair = match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some((chain?, key?)),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let pair = pair.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
    match RedisTls::new(authorities_text.as_ref().map(|text| &text[..]), pair) {
        Ok(tls) => Some(Some(tls)),
        Err(problem) => {
            let field = match &problem {
                TlsProblem::Authorities(_) => authorities,
                TlsProblem::Certificate(_) => certificate,
            };
            field.wrong(problem.to_string(), "name a file in PEM");
            None
        }
    }
}

fn content(field: &Field<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let path = field.path()?;
    match std::fs::read(&path) {
        Ok(text) => Some(Zeroizing::new(text)),
        Err(error) => {
            let what = format!("{}: {}", path.display(), io_text(&error));
            field.wrong(what, "check the path and its permissions");
            None
        }
    }
}

fn warn_of_exposure(field: &Field<'_>) {
    use crate::config::Place;
    match field.place() {
        Place::Flag(_) => field.warn(
            "everybody on this machine can read this password in the list of processes",
            "set the URL by OPENBIN_GATEWAY__STORE__URL, or the password by store.password_file",
        ),
        Place::Line(..) | Place::File(_) | Place::Variable(_) | Place::Nowhere => {}
    }
}

/// What of a Redis URL matters here; the rest is for the client library.
struct Parts<'a> {
    scheme: &'a str,
    user: &'a str,
    password: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let at = rest.get(..end)?.rfind('@');
        let (user, password, rest) = match at {
            Some(at) => {
                let (user, rest) = (rest.get(..at)?, rest.get(at + 1..)?);
                let (user, password) = user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)));
                (user, password, rest)
            }
            None => ("", None, rest),
        };
        let known = matches!(scheme, "redis" | "rediss") && !rest.contains(['?', '#']);
        let host = rest.split('/').next().unwrap_or_default();
        (known && Address::parse(host, PORT).is_some() && shown(rest) != "(not shown)").then_some(Self {
            scheme,
            user,
            password,
            rest,
        })
    }

    fn with(&self, password: Option<&str>) -> String {
        let Self { scheme, user, rest, .. } = self;
        match (password.map(percent_encoded), self.password) {
            (Some(password), _) => format!("{scheme}://{user}:{password}@{rest}"),
            (None, Some(password)) => format!("{scheme}://{user}:{password}@{rest}"),
            (None, None) if user.is_empty() => format!("{scheme}://{rest}"),
            (None, None) => format!("{scheme}://{user}@{rest}"),
        }
    }
}

/// RFC 3986 §2.1: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_from_a_file_is_merged_into_the_url() {
        let parts = Parts::of("rediss://gateway@redis.example:6379/2").expect("URL");
        assert_eq!(parts.with(Some("p@s/s")), "rediss://gateway:p%40s%2Fs@redis.example:6379/2");
        let parts = Parts::of("redis://[::1]:6379").expect("URL");
        assert_eq!(parts.with(Some("x")), "redis://:x@[::1]:6379");
        assert_eq!(parts.with(None), "redis://[::1]:6379");
    }

    #[test]
    fn texts_that_are_no_redis_url_are_refused() {
        for wrong in [
            "",
            "redis://",
            "http://a",
            "127.0.0.1:6379",
            "redis://a:0",
            "redis://a b",
            "redis://:p@/0",
            "rediss://a#insecure",
        ] {
            assert!(Parts::of(wrong).is_none(), "{wrong}");
        }
    }
}
