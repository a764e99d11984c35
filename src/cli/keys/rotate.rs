//! `keys rotate`: a successor with the same owner, name and limits; the old key ends by itself.

use serde_json::json;

use super::create::hand_over;
use super::select::{KeyArgs, path_of};
use crate::cli::door::Door;
use crate::cli::{Failure, OfficeArgs, wording};

/// What `keys rotate` is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new key alone goes to standard output, so that it can be piped. With --json everything \
    is one document."
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// For how long both keys are good, such as 24h; 0s: the old one ends at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = wording::duration)]
    overlap: String,
    #[command(flatten)]
    office: OfficeArgs,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { key, overlap, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let key = key.find(door).await?;
        let answer = door.post(&path_of(&key, &["rotate"]), &json!({ "overlap": overlap })).await?;
        hand_over(answer, json)
    })
}
