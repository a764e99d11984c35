//! Paths as nobody would write them: OpenBin's own routes, bent in every way that has fooled some router.

/// A generator of numbers that are the same for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("a small number")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, things: &[&'a T]) -> &'a T {
        things[self.below(things.len())]
    }
}

const METHODS: [&str; 9] = ["GET", "GET", "GET", "GET", "POST", "POST", "DELETE", "PUT", "OPTIONS"];

/// `*` stands for a parameter.
const ROUTES: [&str; 34] = [
    "/api/health",
    "/api/plans",
    "/api/auth/status",
    "/api/auth/login",
    "/api/auth/register",
    "/api/auth/refresh",
    "/api/auth/logout",
    "/api/auth/logout-all",
    "/api/auth/forgot-password",
    "/api/auth/me",
    "/api/auth/account",
    "/api/auth/avatar/*",
    "/api/auth/oauth/google",
    "/api/auth/oauth/google/callback",
    "/api/auth/oauth/apple/callback",
    "/api/auth/oauth/links",
    "/api/auth/oauth/link/*",
    "/api/shared/*",
    "/api/shared/*/photos/*/file",
    "/api/shared/*/photos/*/thumb",
    "/api/shared",
    "/api/subscriptions/callback",
    "/api/bins",
    "/api/bins/*",
    "/api/bins/*/photos",
    "/api/api-keys",
    "/api/api-keys/*",
    "/api/admin/users/*",
    "/api/admin/security/suspend/*",
    "/api",
    "/api/unknown",
    "/",
    "/assets/app.js",
    "/api-docs/",
];

const PARAMETERS: [&str; 12] = [
    "1",
    "0123456789abcdef0123456789abcdef",
    "..",
    ".",
    "%2e%2e",
    "%2f",
    "status",
    "health",
    "photos",
    "a%20b",
    "%zz",
    "a:b",
];

const SEGMENTS: [&[u8]; 22] = [
    b".",
    b"..",
    b"",
    b"%2e",
    b"%2e%2e",
    b"%2E.",
    b"..;",
    b".;a",
    b";",
    b";/",
    b"api",
    b"API",
    b"auth",
    b"health",
    b"%2f",
    b"%5c",
    b"\\",
    b"..\\",
    b"%00",
    b"%c0%ae%c0%ae",
    b"\xc0\xae",
    b"%252e%252e",
];

const INSERTED: [&[u8]; 26] = [
    b"%20",
    b"+",
    b";",
    b";a=b",
    b"%3b",
    b"%2f",
    b"%252f",
    b"%5c",
    b"\\",
    b"%00",
    b"\0",
    b"%0a",
    b"%0d%0a",
    b"\t",
    b" ",
    b"\xe4",
    b"\xc3\xa4",
    b"%c3%a4",
    b"%ff",
    b"%",
    b"%2",
    b"%zz",
    b"#",
    b"?",
    b":",
    b"\"<>{}|^`",
];

const ENDS: [&[u8]; 16] = [
    b"/",
    b"//",
    b"/.",
    b"/..",
    b"/%2e",
    b"?",
    b"?/api/health",
    b"?x=/../api/health",
    b"#",
    b"#/api/health",
    b"/#",
    b";",
    b"/;",
    b"%2f",
    b"/api/health",
    b"/../../api/auth/status",
];

const STARTS: [&[u8]; 12] = [
    b"/",
    b"//",
    b"/.",
    b"/..",
    b"/x/..",
    b"/%2e",
    b"\\",
    b"/api/..",
    b"/;",
    b"//localhost",
    b"http://localhost",
    b"/api/auth/status/..",
];

/// A method and a target.
pub fn draw(dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let mut target = filled(dice.of(&ROUTES), dice);
    // Some are left as they are: the two must agree on these, too.
    if !dice.one_in(6) {
        for _ in 0..=dice.below(2) {
            target = bent(target, dice);
        }
    }
    (dice.of(&METHODS), target)
}

fn filled(route: &str, dice: &mut Dice) -> Vec<u8> {
    let parts: Vec<_> = route.split('*').collect();
    let mut target = parts[0].to_owned();
    for part in &parts[1..] {
        target.push_str(dice.of(&PARAMETERS));
        target.push_str(part);
    }
    target.into_bytes()
}

fn bent(mut target: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => [dice.of(&STARTS).to_vec(), target].concat(),
        1 | 2 => [target, dice.of(&ENDS).to_vec()].concat(),
        3 => {
            let mut segments: Vec<_> = target.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
            let place = dice.below(segments.len() + 1);
            segments.insert(place, dice.of(&SEGMENTS).to_vec());
            segments.join(&b'/')
        }
        4 => {
            let place = dice.below(target.len() + 1);
            target.splice(place..place, dice.of(&INSERTED).iter().copied());
            target
        }
        5 => encoded(&target, dice),
        6 => {
            target.iter().map(|byte| if dice.one_in(2) { byte.to_ascii_uppercase() } else { *byte }).collect()
        }
        7 => {
            let slashes: Vec<_> = (0..target.len()).filter(|at| target[*at] == b'/').collect();
            if let Some(at) = slashes.get(dice.below(slashes.len().max(1))) {
                target.splice(
                    *at..=*at,
                    dice.of(&[&b"//"[..], b"\\", b"%2f", b"%5c", b"/./", b"/;/", b"///"]).iter().copied(),
                );
            }
            target
        }
        8 => {
            let place = dice.below(target.len().max(1));
            if place < target.len() {
                target.remove(place);
            }
            target
        }
        _ if dice.one_in(20) => [target, vec![b'a'; 5000]].concat(),
        _ => [target, b"/".to_vec()].concat(),
    }
}

/// Some letters percent-encoded, once or twice.
fn encoded(target: &[u8], dice: &mut Dice) -> Vec<u8> {
    let percent = if dice.one_in(4) { "%25" } else { "%" };
    let mut out = Vec::new();
    for (at, byte) in target.iter().enumerate() {
        if at > 0 && dice.one_in(8) {
            out.extend_from_slice(format!("{percent}{byte:02x}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}
