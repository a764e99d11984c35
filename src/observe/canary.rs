//! Secrets that must never be seen again, and dice to hide them in arbitrary bytes. For tests only.

/// A key; its digits repeat, so that any eight of them are one of the [`CANARIES`].
pub(super) const CANARY_KEY: &str =
    "sk_openbin_c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const CANARY_JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImNhbmFyeSJ9.Y2FuYXJ5LXNpZ25hdHVyZQ";
const CANARY_QUERY: &str = "?q=canary&a=canary";

/// What would be left of a secret in a line.
pub(super) const CANARIES: [&str; 4] = ["c0ffee00", "eyJpZCI6", "Y2FuYXJ5", "canary"];

/// Numbers that are the same in every run (xorshift, George Marsaglia 2003).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Arbitrary bytes with secrets among them, as in a request target.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        self.mix(&[CANARY_KEY, CANARY_JWT, CANARY_QUERY])
    }

    /// Arbitrary bytes with secrets among them that have no name in front.
    pub(super) fn words(&mut self) -> Vec<u8> {
        self.mix(&[CANARY_KEY, CANARY_JWT])
    }

    /// Arbitrary bytes.
    pub(super) fn noise(&mut self) -> Vec<u8> {
        self.mix(&[""])
    }

    fn mix(&mut self, secrets: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let is_clean = self.roll(2) == 0;
        for _ in 0..self.roll(12) {
            match self.roll(5) {
                0 => bytes.extend_from_slice(secrets[self.roll(secrets.len() as u64) as usize].as_bytes()),
                1 => bytes.extend(b"/?&=%.-;".get(self.roll(8) as usize)),
                2 => bytes.push(b'/'),
                _ if is_clean => bytes.extend((0..self.roll(9)).map(|_| b'g' + self.roll(20) as u8)),
                _ => bytes.extend((0..self.roll(9)).map(|_| self.roll(256) as u8)),
            }
        }
        bytes
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
