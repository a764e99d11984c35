//! What gateways use of their machine: it must not grow by what went wrong.

use std::time::{Duration, Instant};

use super::fleet::Fleet;
use crate::support::Gateway;

/// What each gateway's process has open, and holds in memory.
pub struct Footprint(Vec<Print>);

#[derive(Debug, Clone, Copy)]
struct Print {
    process: u32,
    files: usize,
    bytes: u64,
}

const MOST_GROWTH: u64 = 32 << 20;
/// The clients' own connections come and go.
const MORE_FILES: usize = 16;
const WITHIN: Duration = Duration::from_secs(10);

impl Print {
    fn of(gateway: &Gateway) -> Self {
        let process = gateway.process.pid();
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Self { process, files, bytes: gateway.process.resident_bytes() }
    }
}

impl Footprint {
    pub fn of(fleet: &Fleet) -> Self {
        Self(fleet.gateways.iter().map(Print::of).collect())
    }

    /// What has grown too much since, in words. Files have a while to be closed. A process that began later is not
    /// compared.
    pub async fn outgrown(&self, fleet: &Fleet) -> Vec<String> {
        let began = Instant::now();
        loop {
            let same = |(before, gateway): (&Print, &Gateway)| {
                let now = Print::of(gateway);
                (before.process == now.process).then_some((*before, now))
            };
            let pairs: Vec<(Print, Print)> = self.0.iter().zip(&fleet.gateways).filter_map(same).collect();
            let open = pairs.iter().filter(|(before, now)| now.files > before.files + MORE_FILES);
            let fat = pairs.iter().filter(|(before, now)| now.bytes > before.bytes + MOST_GROWTH);
            let mut words: Vec<String> = open
                .map(|(before, now)| {
                    format!("a gateway has {} files open, {} before", now.files, before.files)
                })
                .collect();
            if words.is_empty() || began.elapsed() > WITHIN {
                words.extend(fat.map(|(before, now)| {
                    format!("a gateway grew from {} to {} bytes", before.bytes, now.bytes)
                }));
                return words;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
