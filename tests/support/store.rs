//! The two stores that promises about keys must hold for.

use super::redis::RedisServer;
use super::setup::Setup;

/// A place for keys, ready to be configured.
pub enum Store {
    Embedded,
    Redis(RedisServer),
}

impl Store {
    /// One of each kind; the Redis is a process of its own.
    pub fn each() -> [Self; 2] {
        [Self::Embedded, Self::Redis(RedisServer::start())]
    }

    /// Lets a setup keep its keys here.
    pub fn of(&self, setup: Setup) -> Setup {
        match self {
            Self::Embedded => setup,
            Self::Redis(redis) => setup.in_redis(&redis.url()),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis(_) => "redis",
        }
    }
}
