//! What fuzzing looks for holds on the seeds that it begins with.

use std::path::Path;

use crate::{auth, config, gateway, keys, observe, server, upstream};

type Property = fn(&[u8]);

/// The targets of `fuzz/`, by name.
const TARGETS: [(&str, Property); 12] = [
    ("answer", upstream::fuzz::answer),
    ("audit", keys::fuzz::audit),
    ("change", keys::fuzz::change),
    ("configuration", config::fuzz::configuration),
    ("cookie", gateway::fuzz::cookie),
    ("guard", server::fuzz::guard),
    ("head", gateway::fuzz::head),
    ("proxy", server::fuzz::proxy),
    ("record", keys::fuzz::record),
    ("redaction", observe::fuzz::redaction),
    ("requests", server::fuzz::requests),
    ("token", auth::fuzz::token),
];

#[test]
fn the_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let folders = std::fs::read_dir(&folder).expect("seeds").count();
    assert_eq!(folders, TARGETS.len(), "every folder of seeds has its target");
    for (target, holds) in TARGETS {
        let files = std::fs::read_dir(folder.join(target)).expect("a folder of seeds");
        for file in files {
            holds(&std::fs::read(file.expect("a seed").path()).expect("a seed"));
        }
    }
}
