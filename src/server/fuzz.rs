//! What must hold of bytes on their way to hyper, whatever they are; for fuzzers and for the seeds that they
//! start from.

use super::guard::{Guard, Part};

/// Longer than any input, so that no line is beyond what is looked at.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Follows bytes whole, one by one, and split where their first bytes say.
///
/// # Panics
/// Where it makes a difference how they came.
pub fn guard(text: &[u8]) {
    let (sizes, bytes) = text.split_at(text.len().min(4));
    let whole = judged(bytes, &[usize::MAX]);
    assert_eq!(judged(bytes, &[1]), whole);
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size) + 1).collect();
    if !sizes.is_empty() {
        assert_eq!(judged(bytes, &sizes), whole);
    }
}

/// Where in all of the bytes a fault is, and in which part.
fn judged(bytes: &[u8], sizes: &[usize]) -> Option<(usize, Part)> {
    let mut guard = Guard::new(MAX_HEADER_BYTES);
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < bytes.len() {
        let size = sizes.next().copied().unwrap_or(1);
        let end = at.saturating_add(size).min(bytes.len());
        if let Err(fault) = guard.inspect(bytes.get(at..end).unwrap_or_default()) {
            return Some((at + fault.at, fault.part));
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold() {
        seeds("guard").iter().for_each(|seed| guard(seed));
    }

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let files = std::fs::read_dir(folder).expect("a folder of seeds");
        files.map(|file| std::fs::read(file.expect("a seed").path()).expect("a seed")).collect()
    }
}
