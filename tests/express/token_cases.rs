//! Tokens that somebody might take for good ones, and some that are.

use jsonwebtoken::Algorithm;

use crate::support::jwt::{SECRET, USER, base64url, now, token, unsigned};

/// A token, and why the gateway may refuse it although OpenBin would not.
pub struct TokenCase {
    pub name: String,
    pub token: String,
    pub stricter: Option<&'static str>,
}

const HEADER: &str = r#"{"alg":"HS256"}"#;
const CANONICAL: &str = "a signature must be canonical, unpadded base64url (RFC 7515 §2)";
const EXPIRES: &str = "a token without exp would be good for ever";
const TYPES: &str = "a registered header parameter must have its type (RFC 7515 §4.1)";
const DUPLICATES: &str = "a header parameter or a time told twice (RFC 7515 §4, RFC 7519 §4)";
const NUMBERS: &str = "a number that no clock reaches";
const TEXTS: &str = "a text that is not Unicode";
const IDENTITY: &str = "an id that names nobody";

fn good() -> String {
    format!(r#"{{"id":"{USER}","email":"ann@example.com","tv":0,"exp":{}}}"#, now() + 900)
}

fn signed(header: &str, claims: &str) -> String {
    token(header, claims, SECRET, Algorithm::HS256)
}

/// All cases.
pub fn cases() -> Vec<TokenCase> {
    let mut cases = Vec::new();
    let mut add = |name: &str, token: String, stricter| {
        cases.push(TokenCase { name: name.to_owned(), token, stricter });
    };
    add("as OpenBin issues it", signed(HEADER, &good()), None);
    for (name, header, stricter) in HEADERS {
        add(name, signed(header, &good()), *stricter);
    }
    for (name, claims, stricter) in CLAIMS {
        let claims = claims.replace("$LATER", &(now() + 900).to_string()).replace("$NOW", &now().to_string());
        add(name, signed(HEADER, &claims.replace("$ID", USER)), *stricter);
    }
    for (name, token) in forged() {
        add(&name, token, None);
    }
    for (name, token) in spelled() {
        add(&name, token, Some(CANONICAL));
    }
    cases
}

type Row = (&'static str, &'static str, Option<&'static str>);

const HEADERS: &[Row] = &[
    ("header: typ JWT", r#"{"alg":"HS256","typ":"JWT"}"#, None),
    ("header: another typ", r#"{"alg":"HS256","typ":"at+jwt"}"#, None),
    ("header: typ is a number", r#"{"alg":"HS256","typ":1}"#, Some(TYPES)),
    ("header: white space", "{ \"alg\" :\n\"HS256\" }", None),
    ("header: an escape in the name", r#"{"\u0061lg":"HS256"}"#, None),
    ("header: an escape in the value", r#"{"alg":"\u0048S256"}"#, None),
    ("header: kid is a path", r#"{"alg":"HS256","kid":"../../dev/null"}"#, None),
    ("header: kid is a number", r#"{"alg":"HS256","kid":1}"#, Some(TYPES)),
    ("header: jku", r#"{"alg":"HS256","jku":"https://evil.example/keys"}"#, None),
    ("header: jwk", r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#, Some(TYPES)),
    ("header: x5u", r#"{"alg":"HS256","x5u":"https://evil.example/"}"#, None),
    ("header: something unknown", r#"{"alg":"HS256","own":{"a":[1]}}"#, Some(TYPES)),
    ("header: zip", r#"{"alg":"HS256","zip":"DEF"}"#, Some(TYPES)),
    ("header: crit of exp", r#"{"alg":"HS256","crit":["exp"]}"#, None),
    ("header: crit of nothing", r#"{"alg":"HS256","crit":[]}"#, None),
    ("header: crit is a text", r#"{"alg":"HS256","crit":"exp"}"#, None),
    ("header: crit of the unknown", r#"{"alg":"HS256","crit":["own"],"own":1}"#, None),
    (
        "header: b64 true, crit",
        r#"{"alg":"HS256","crit":["b64"],"b64":true}"#,
        Some("crit is never understood"),
    ),
    ("header: b64 false, crit", r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, None),
    ("header: b64 false", r#"{"alg":"HS256","b64":false}"#, Some(TYPES)),
    ("header: alg none", r#"{"alg":"none"}"#, None),
    ("header: alg None", r#"{"alg":"None"}"#, None),
    ("header: alg in lower case", r#"{"alg":"hs256"}"#, None),
    ("header: alg HS384", r#"{"alg":"HS384"}"#, None),
    ("header: alg HS512", r#"{"alg":"HS512"}"#, None),
    ("header: alg RS256", r#"{"alg":"RS256"}"#, None),
    ("header: alg ES256", r#"{"alg":"ES256"}"#, None),
    ("header: alg EdDSA", r#"{"alg":"EdDSA"}"#, None),
    ("header: alg with a blank", r#"{"alg":"HS256 "}"#, None),
    ("header: alg with NUL", r#"{"alg":"HS256\u0000"}"#, None),
    ("header: alg empty", r#"{"alg":""}"#, None),
    ("header: alg missing", r"{}", None),
    ("header: alg null", r#"{"alg":null}"#, None),
    ("header: alg a list", r#"{"alg":["HS256"]}"#, None),
    ("header: alg told twice, first none", r#"{"alg":"none","alg":"HS256"}"#, Some(DUPLICATES)),
    ("header: alg told twice, last none", r#"{"alg":"HS256","alg":"none"}"#, None),
    ("header: alg under another name", r#"{"Alg":"HS256"}"#, None),
    ("header: a list", r#"["HS256"]"#, None),
    ("header: a text", r#""HS256""#, None),
    ("header: null", "null", None),
    ("header: not JSON", "HS256", None),
    ("header: empty", "", None),
    ("header: more behind", r#"{"alg":"HS256"}x"#, None),
    ("header: byte order mark", "\u{feff}{\"alg\":\"HS256\"}", Some(TYPES)),
    ("header: __proto__", r#"{"__proto__":{"alg":"HS256"}}"#, None),
];

const CLAIMS: &[Row] = &[
    ("claims: exp with a fraction", r#"{"id":"$ID","exp":$LATER.5}"#, None),
    ("claims: exp in exponents", r#"{"id":"$ID","exp":4e9}"#, None),
    ("claims: exp past 64 bits", r#"{"id":"$ID","exp":1e300}"#, None),
    ("claims: exp past all numbers", r#"{"id":"$ID","exp":1e400}"#, Some(NUMBERS)),
    ("claims: exp as a text", r#"{"id":"$ID","exp":"$LATER"}"#, None),
    ("claims: exp null", r#"{"id":"$ID","exp":null}"#, None),
    ("claims: exp true", r#"{"id":"$ID","exp":true}"#, None),
    ("claims: exp a list", r#"{"id":"$ID","exp":[$LATER]}"#, None),
    ("claims: exp missing", r#"{"id":"$ID"}"#, Some(EXPIRES)),
    ("claims: exp now", r#"{"id":"$ID","exp":$NOW}"#, None),
    ("claims: exp zero", r#"{"id":"$ID","exp":0}"#, None),
    ("claims: exp negative", r#"{"id":"$ID","exp":-$LATER}"#, None),
    ("claims: exp twice, last past", r#"{"id":"$ID","exp":$LATER,"exp":1}"#, None),
    ("claims: exp twice, first past", r#"{"id":"$ID","exp":1,"exp":$LATER}"#, Some(DUPLICATES)),
    ("claims: exp under an escape", r#"{"id":"$ID","\u0065xp":$LATER}"#, None),
    ("claims: exp in milliseconds", r#"{"id":"$ID","exp":$LATER000}"#, None),
    ("claims: nbf past", r#"{"id":"$ID","exp":$LATER,"nbf":1}"#, None),
    ("claims: nbf to come", r#"{"id":"$ID","exp":$LATER,"nbf":$LATER}"#, None),
    ("claims: nbf as a text", r#"{"id":"$ID","exp":$LATER,"nbf":"1"}"#, None),
    ("claims: nbf null", r#"{"id":"$ID","exp":$LATER,"nbf":null}"#, None),
    ("claims: nbf a list", r#"{"id":"$ID","exp":$LATER,"nbf":[1]}"#, None),
    ("claims: nbf huge", r#"{"id":"$ID","exp":$LATER,"nbf":1e300}"#, None),
    ("claims: nbf past all numbers", r#"{"id":"$ID","exp":$LATER,"nbf":1e400}"#, None),
    ("claims: nbf negative", r#"{"id":"$ID","exp":$LATER,"nbf":-1}"#, None),
    ("claims: iat to come", r#"{"id":"$ID","exp":$LATER,"iat":$LATER}"#, None),
    ("claims: iat as a text", r#"{"id":"$ID","exp":$LATER,"iat":"1"}"#, None),
    ("claims: iat null", r#"{"id":"$ID","exp":$LATER,"iat":null}"#, None),
    (
        "claims: iss, aud, sub, jti",
        r#"{"id":"$ID","exp":$LATER,"iss":1,"aud":{},"sub":[],"jti":null}"#,
        Some(TYPES),
    ),
    ("claims: aud of somebody else", r#"{"id":"$ID","exp":$LATER,"aud":"other"}"#, None),
    ("claims: tv as a text", r#"{"id":"$ID","exp":$LATER,"tv":"abc"}"#, None),
    ("claims: email a number", r#"{"id":"$ID","exp":$LATER,"email":1}"#, None),
    ("claims: email with a line end", r#"{"id":"$ID","exp":$LATER,"email":"a\r\nX-Auth-Method: b"}"#, None),
    ("claims: id missing", r#"{"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id empty", r#"{"id":"","exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id null", r#"{"id":null,"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id a number", r#"{"id":7,"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id a list", r#"{"id":["$ID"],"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id an object", r#"{"id":{"a":"$ID"},"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: id half a surrogate", r#"{"id":"\ud800","exp":$LATER}"#, Some(TEXTS)),
    ("claims: id with a line end", r#"{"id":"a\r\nX-Auth-Method: b","exp":$LATER}"#, None),
    ("claims: sub a list", r#"{"id":"$ID","exp":$LATER,"sub":[]}"#, Some(TYPES)),
    ("claims: aud a number", r#"{"id":"$ID","exp":$LATER,"aud":5,"iss":{},"jti":5}"#, None),
    ("claims: byte order mark", "\u{feff}{\"id\":\"$ID\",\"exp\":$LATER}", Some(TYPES)),
    ("claims: id told twice", r#"{"id":"other","id":"$ID","exp":$LATER}"#, None),
    ("claims: __proto__", r#"{"__proto__":{"id":"$ID"},"exp":$LATER}"#, Some(IDENTITY)),
    ("claims: a list", r#"[{"id":"$ID","exp":$LATER}]"#, None),
    ("claims: a text", r#""id""#, None),
    ("claims: a number", "7", None),
    ("claims: null", "null", None),
    ("claims: empty", "", None),
    ("claims: nothing in them", "{}", Some(EXPIRES)),
    ("claims: not JSON", "id=1", None),
    ("claims: more behind", r#"{"id":"$ID","exp":$LATER}x"#, None),
    ("claims: white space behind", "{\"id\":\"$ID\",\"exp\":$LATER}\n ", None),
    ("claims: a comma too many", r#"{"id":"$ID","exp":$LATER,}"#, None),
    ("claims: a comment", r#"{"id":"$ID",/**/"exp":$LATER}"#, None),
    ("claims: NaN", r#"{"id":"$ID","exp":NaN}"#, None),
    ("claims: byte order mark", "\u{feff}{\"id\":\"$ID\",\"exp\":$LATER}", Some(TEXTS)),
];

/// Tokens that nobody signed as they are.
fn forged() -> Vec<(String, String)> {
    let good_token = signed(HEADER, &good());
    let parts: Vec<_> = good_token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let other = base64url(good().replace(USER, "root").as_bytes());
    let none = base64url(br#"{"alg":"none"}"#);
    let rows = [
        ("nothing signed", unsigned(r#"{"alg":"none"}"#, &good())),
        ("nothing signed, alg HS256", unsigned(HEADER, &good())),
        ("none with a signature", format!("{none}.{claims}.{signature}")),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("other secret", token(HEADER, &good(), "other", Algorithm::HS256)),
        ("longer secret", token(HEADER, &good(), &format!("{SECRET} "), Algorithm::HS256)),
        ("shorter secret", token(HEADER, &good(), &SECRET[1..], Algorithm::HS256)),
        ("secret of one byte", token(HEADER, &good(), "0", Algorithm::HS256)),
        ("signed with SHA-384, said HS256", token(HEADER, &good(), SECRET, Algorithm::HS384)),
        ("signed with SHA-512, said HS256", token(HEADER, &good(), SECRET, Algorithm::HS512)),
        ("HS384 throughout", token(r#"{"alg":"HS384"}"#, &good(), SECRET, Algorithm::HS384)),
        ("HS512 throughout", token(r#"{"alg":"HS512"}"#, &good(), SECRET, Algorithm::HS512)),
        ("signature cut", format!("{header}.{claims}.{}", &signature[..40])),
        ("signature halved", format!("{header}.{claims}.{}", &signature[..22])),
        ("signature doubled", format!("{header}.{claims}.{signature}{signature}")),
        ("signature of zeros", format!("{header}.{claims}.{}", "A".repeat(43))),
        ("two parts", format!("{header}.{claims}")),
        ("one part", header.to_owned()),
        ("four parts", format!("{good_token}.x")),
        ("five parts", format!("{header}.x.x.{claims}.{signature}")),
        ("a dot behind", format!("{good_token}.")),
        ("a dot in front", format!(".{good_token}")),
        ("only dots", "..".to_owned()),
        ("turned round", format!("{signature}.{claims}.{header}")),
        ("twice", format!("{good_token}{good_token}")),
        ("with a comma", format!("{good_token},{good_token}")),
        ("in quotes", format!("\"{good_token}\"")),
        ("percent-encoded dots", good_token.replace('.', "%2e")),
        ("other letters' case", format!("{}.{claims}.{signature}", header.to_lowercase())),
    ];
    rows.into_iter().map(|(name, token)| (format!("forged: {name}"), token)).collect()
}

/// The good token in other spellings.
fn spelled() -> Vec<(String, String)> {
    let good_token = signed(HEADER, &good());
    let parts: Vec<_> = good_token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let last = signature.chars().next_back().expect("a signature");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 43 letters hold 258 bits, two more than there are: the last letter has three twins.
    let twin = alphabet.find(last).map(|at| at ^ 1).and_then(|at| alphabet.chars().nth(at)).expect("a twin");
    let rows = [
        ("padded signature", format!("{good_token}=")),
        ("padded header", format!("{header}=.{claims}.{signature}")),
        (
            "signature in the other alphabet",
            format!("{header}.{claims}.{}", signature.replace('-', "+").replace('_', "/")),
        ),
        ("last letter's twin", format!("{header}.{claims}.{}{twin}", &signature[..42])),
        ("a blank in the signature", format!("{header}.{claims}.{} {}", &signature[..9], &signature[9..])),
        ("a tab in the claims", format!("{header}.{}\t{}.{signature}", &claims[..9], &claims[9..])),
        ("a blank in front of the claims", format!("{header}. {claims}.{signature}")),
        ("one letter more", format!("{good_token}A")),
    ];
    rows.into_iter().map(|(name, token)| (format!("spelled: {name}"), token)).collect()
}
