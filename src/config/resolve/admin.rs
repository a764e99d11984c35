//! `admin`: where the admin listener is, and who may use it.

use std::net::SocketAddr;

use super::listen::{Listener, address};
use super::secret::secrets;
use crate::api;
use crate::config::authority::clash;
use crate::config::read::Field;

pub(super) fn admin(field: &Field<'_>, listeners: &[Listener<'_>]) -> Option<api::Settings> {
    let section = field.section();
    let at = section.field("address");
    let (file, variable) = (section.field("token_file"), section.field("token_env"));
    let address = if at.given() { address(&at) } else { Some(SocketAddr::from(([127, 0, 0, 1], 9464))) };
    let wanted = file.given() || variable.given();
    let mut tokens = secrets(&file, &variable).unwrap_or_default();
    section.finish();
    if tokens.len() > 1 {
        file.wrong("there can be only one admin token", "keep the first");
    }
    let token = tokens.drain(..).next();
    if token.as_ref().is_some_and(|token| token.len() < SHORTEST_TOKEN) {
        let what = format!("the admin token is shorter than {SHORTEST_TOKEN} characters and can be guessed");
        field.warn(what, "make one with `openssl rand -hex 32`");
    }
    let address = address?;
    // Without a token that could be read there is none, whatever was meant.
    if !address.ip().is_loopback() && token.is_none() && !wanted {
        let what = format!("{address} can be reached from other machines, and there is no token");
        at.wrong(what, "set admin.token_file, or listen on 127.0.0.1");
    }
    if let Some(listener) = listeners.iter().find(|listener| clash(listener.settings.address, address)) {
        let what = format!("{address} is taken by a listener on {}", listener.settings.address);
        at.wrong(what, "give the admin listener a port of its own");
    }
    Some(api::Settings { address, token })
}

const SHORTEST_TOKEN: usize = 16;
