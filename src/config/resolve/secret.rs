//! Secrets from files and from environment variables, trimmed as OpenBin trims its own.
//!
//! A secret never becomes part of a problem's text, and neither does what may be one by mistake: the name
//! of a variable is shown only where it looks like a name.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::read::Field;

/// The secrets of a pair of settings, `…_file` and `…_env`; `None` where neither is given or one is wrong.
pub(super) fn secrets(file: &Field<'_>, variable: &Field<'_>) -> Option<Vec<Zeroizing<String>>> {
    if file.given() && variable.given() {
        variable.wrong("the secret is given twice, as a file and as a variable", "keep one of the two");
        return None;
    }
    let empty = [file, variable].map(|field| field.given() && field.texts().is_empty());
    for (field, _) in [file, variable].into_iter().zip(empty).filter(|(_, empty)| *empty) {
        field.wrong("no secret is named here", "name at least one, or leave the key out");
    }
    let from_files = file.texts().into_iter().map(|(field, path)| from_file(&field, path));
    let from_variables = variable.texts().into_iter().map(|(field, name)| from_variable(&field, name));
    let all: Option<Vec<_>> = from_files.chain(from_variables).collect();
    all.filter(|secrets| !secrets.is_empty())
}

fn from_file(field: &Field<'_>, path: &str) -> Option<Zeroizing<String>> {
    let path = field.context.base.join(path);
    match read(&path) {
        Ok((text, mode)) => {
            if mode & 0o004 != 0 {
                let mend = format!("chmod o-r {}", path.display());
                field.warn("everybody on this machine can read this secret", mend);
            }
            Some(text)
        }
        Err(why) => {
            field.wrong(
                format!("{}: {why}", path.display()),
                "name a file that holds the secret and nothing else",
            );
            None
        }
    }
}

fn from_variable(field: &Field<'_>, name: &str) -> Option<Zeroizing<String>> {
    if !is_variable_name(name) {
        field.wrong(
            "this is not the name of an environment variable",
            "write the name, not the secret itself",
        );
        return None;
    }
    let value = field.context.environment.iter().find(|(variable, _)| variable == name);
    match value.map(|(_, value)| value.trim()) {
        Some("") => {
            field.wrong(format!("the environment variable {name} is empty"), "put the secret into it")
        }
        Some(secret) => return Some(Zeroizing::new(secret.to_owned())),
        None => field.wrong(format!("there is no environment variable {name}"), "set it before the start"),
    }
    None
}

/// A short text that is all letters, digits and underscores; a generated secret is longer.
fn is_variable_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The file's trimmed text and its mode.
fn read(path: &Path) -> Result<(Zeroizing<String>, u32), String> {
    let file = std::fs::File::open(path).map_err(|error| io_text(&error))?;
    let metadata = file.metadata().map_err(|error| io_text(&error))?;
    if metadata.is_dir() {
        return Err("this is a folder".into());
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "this is not a text file".to_owned(),
        _ => io_text(&error),
    })?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err("this is too large for a secret".into());
    }
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() {
        return Err("the file is empty".into());
    }
    Ok((trimmed, metadata.permissions().mode()))
}

/// The two causes that people meet, in their words.
pub(super) fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "this user may not read it".into(),
        _ => error.to_string(),
    }
}
