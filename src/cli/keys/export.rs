//! `keys export`: everything that the admin API tells of keys, as one JSON document or as CSV.
//!
//! Neither keys nor their hashes: the admin API gives none, so an export cannot be imported as keys elsewhere.

use serde::Deserialize;

use super::list::as_json;
use super::pages::{FilterArgs, Pages, Standing};
use crate::cli::door::Door;
use crate::cli::out::Out;
use crate::cli::record::Key;
use crate::cli::{Failure, OfficeArgs};

/// What `keys export` is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An export holds neither keys nor their hashes: what it lists cannot be used, or imported \
    elsewhere. To move keys, back up the store."
)]
pub(in crate::cli) struct Args {
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those in this standing [default: any]
    #[arg(long, value_name = "STANDING")]
    standing: Option<Standing>,
    #[command(flatten)]
    office: OfficeArgs,
}

/// In what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One document, one key a line
    Json,
    /// One row a key; several entries of a field are separated by spaces
    Csv,
}

const FIELDS: [&str; 23] = [
    "id",
    "instance",
    "user_id",
    "user_email",
    "name",
    "prefix",
    "issuer",
    "standing",
    "created_at",
    "last_used_at",
    "last_used_over",
    "expires_at",
    "disabled",
    "read_only",
    "methods",
    "paths",
    "addresses",
    "rate",
    "replaced_by",
    "revoked_at",
    "revoked_by",
    "revoked_who",
    "revoked_why",
];

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { format, filter, standing, office } = args;
    office.work(async |door: &Door| {
        let pages = Pages::new(door, &filter, standing, 0)?;
        match format {
            Format::Json => as_json(pages).await,
            Format::Csv => as_csv(pages).await,
        }
    })
}

async fn as_csv(mut pages: Pages<'_>) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(Out::new());
    writer.write_record(FIELDS).map_err(written)?;
    while let Some(page) = pages.next().await? {
        for key in &page.keys {
            let key = Key::deserialize(key).map_err(anyhow::Error::new)?;
            writer.write_record(cells(&key)).map_err(written)?;
        }
    }
    Ok(writer.flush()?)
}

fn written(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => Failure::Failed(anyhow::anyhow!("cannot write CSV: {other:?}")),
    }
}

fn cells(key: &Key) -> [String; 23] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let policy = &key.policy;
    let revoked = |field: fn(&crate::cli::record::Revoked) -> Option<String>| {
        key.revoked.as_ref().and_then(field).unwrap_or_default()
    };
    [
        key.id.clone(),
        key.instance.clone(),
        key.user_id.clone(),
        text(&key.user_email),
        key.name.clone(),
        key.prefix.clone(),
        key.issuer.clone(),
        key.standing.clone(),
        text(&key.created_at),
        text(&key.last_used_at),
        text(&key.last_used_over),
        text(&policy.expires_at),
        policy.disabled.to_string(),
        policy.read_only.to_string(),
        policy.methods.join(" "),
        policy.paths.join(" "),
        policy.addresses.join(" "),
        text(&policy.rate),
        text(&policy.replaced_by),
        revoked(|revoked| Some(revoked.at.clone())),
        revoked(|revoked| Some(revoked.by.clone())),
        revoked(|revoked| revoked.who.clone()),
        revoked(|revoked| revoked.why.clone()),
    ]
}
