//! `check`: everything that is wrong with a configuration, and whether what it names answers.
//!
//! Changes nothing but a record of its own in the store, which it deletes again. Opens no listener.

use std::time::SystemTime;

use anyhow::Context as _;

use super::Failure;
use super::report::{Mark, Report};
use super::serve::SourceArgs;
use crate::config::Config;
use crate::gateway;
use crate::keys::{self, Concern, StoreError, StoreSettings};
use crate::server::{self, Standing};
use crate::upstream::{Probe, probe};

/// What `check` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Print JSON instead of a list
    #[arg(long)]
    json: bool,
    /// Read the configuration and its files only; ask neither OpenBin nor the store
    #[arg(long)]
    offline: bool,
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway check --config gateway.yaml
  openbin-gateway check --config gateway.yaml --offline --json

Exit status: 0 everything works (there may be warnings), 1 something does not answer as it should,
2 the configuration is wrong.";

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut report = Report::default();
    let config = match Config::load(args.source.sources()) {
        Ok(config) => config,
        Err(problems) if args.json => {
            problems.all().iter().for_each(|problem| report.add_problem(Mark::Fail, problem));
            println!("{:#}", report.to_json());
            return Err(problems.into());
        }
        Err(problems) => return Err(problems.into()),
    };
    report.add("configuration", Mark::Ok, summary(&config));
    config.warnings.iter().for_each(|warning| report.add_problem(Mark::Warn, warning));
    certificates(&config.server, &mut report);
    if !args.offline {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(ask(&config, &mut report));
    }
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    if report.failed() { Err(Failure::Found) } else { Ok(()) }
}

fn summary(config: &Config) -> String {
    let names: Vec<&str> = config.gateway.instances.iter().map(|instance| &*instance.name).collect();
    let addresses: Vec<String> = config.server.listeners.iter().map(|l| l.address.to_string()).collect();
    format!("instances {}; listening on {}", names.join(", "), addresses.join(", "))
}

fn certificates(settings: &server::Settings, report: &mut Report) {
    for listener in &settings.listeners {
        let part = format!("listener {}", listener.address);
        let Some(certificates) = &listener.tls else {
            report.add(part, Mark::Ok, "plain HTTP");
            continue;
        };
        match certificates.validity().map(|validity| validity.at(SystemTime::now())) {
            Some(Standing::Valid) => {
                report.add(part, Mark::Ok, "certificate and key belong together, and are in date")
            }
            Some(Standing::Expired) => {
                report.add(part, Mark::Fail, "the certificate is out of date; renew it")
            }
            Some(Standing::NotYetValid) => {
                report.add(part, Mark::Fail, "the certificate is not valid yet; check this machine's clock");
            }
            None => report.add(part, Mark::Warn, "the certificate's dates cannot be read"),
        }
    }
}

async fn ask(config: &Config, report: &mut Report) {
    store(&config.keys.store, report).await;
    for instance in &config.gateway.instances {
        ask_instance(instance, report).await;
    }
}

async fn store(settings: &StoreSettings, report: &mut Report) {
    let (part, what) = match settings {
        StoreSettings::Embedded { path } => ("store", format!("embedded, {}", path.display())),
        StoreSettings::Redis { servers, .. } => ("store", format!("Redis, {servers}")),
    };
    let probed = async {
        let store = keys::open(settings).await?;
        store.probe().await?;
        store.survey().await
    };
    match probed.await {
        Ok(concerns) => {
            report.add(part, Mark::Ok, format!("{what}: wrote, read and deleted a record"));
            for concern in concerns {
                match concern {
                    Concern::Forgets(why) => report.add(part, Mark::Fail, why),
                    Concern::Note(why) => report.add(part, Mark::Warn, why),
                }
            }
        }
        Err(StoreError::InUse(_)) => {
            let text =
                format!("{what}: in use by a running gateway, and not looked into; its /readyz tells more");
            report.add(part, Mark::Warn, text);
        }
        Err(error) => report.add(part, Mark::Fail, format!("{what}: {error}")),
    }
}

async fn ask_instance(instance: &gateway::InstanceSettings, report: &mut Report) {
    let part = format!("instance {}", instance.name);
    match probe(&instance.upstream).await {
        Ok(probe) => judge(&part, &instance.upstream.authority, &probe, report),
        Err(error) => {
            let text = format!("http://{}: {error}; is OpenBin running there?", instance.upstream.authority);
            report.add(part, Mark::Fail, text);
        }
    }
}

fn judge(part: &str, authority: &impl std::fmt::Display, probe: &Probe, report: &mut Report) {
    let connected = format!("http://{authority}: connected in {} ms", probe.connected_in.as_millis());
    report.add(part, Mark::Ok, connected);
    match (probe.health.status.as_u16(), probe.health.json_object) {
        (200, true) => report.add(part, Mark::Ok, "GET /api/health: healthy"),
        (status, true) => {
            report.add(
                part,
                Mark::Fail,
                format!("GET /api/health: {status}; OpenBin says that it is not well"),
            );
        }
        (status, false) => {
            let text = format!("GET /api/health: {status} without JSON; is this OpenBin?");
            return report.add(part, Mark::Fail, text);
        }
    }
    match (probe.status.status.as_u16(), probe.status.json_object) {
        (200, true) => report.add(part, Mark::Ok, "GET /api/auth/status: this is OpenBin"),
        // During maintenance or a restore, OpenBin answers so.
        (503, true) => report.add(part, Mark::Warn, "GET /api/auth/status: 503; maintenance or a restore?"),
        (status, _) => {
            let text =
                format!("GET /api/auth/status: {status}, which OpenBin does not answer; is this OpenBin?");
            return report.add(part, Mark::Fail, text);
        }
    }
    if probe.health.strict_transport_security || probe.status.strict_transport_security {
        report.add(part, Mark::Ok, "TRUST_PROXY is on: OpenBin sees each client's own address");
    } else {
        report.add(
            part,
            Mark::Warn,
            "OpenBin runs without TRUST_PROXY=true: all users share one address in its rate limits, and its \
             cookies lack Secure; set TRUST_PROXY=true in OpenBin's environment and restart it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Answer;
    use hyper::StatusCode;
    use std::time::Duration;

    fn judged(health: (u16, bool), status: (u16, bool), hsts: bool) -> (bool, String) {
        let answer = |(status, json_object)| Answer {
            status: StatusCode::from_u16(status).expect("status"),
            json_object,
            strict_transport_security: hsts,
        };
        let connected_in = Duration::from_millis(2);
        let probe = Probe { connected_in, health: answer(health), status: answer(status) };
        let mut report = Report::default();
        judge("instance home", &"127.0.0.1:1453", &probe, &mut report);
        (report.failed(), report.to_string())
    }

    #[test]
    fn a_healthy_openbin_that_trusts_its_proxy_is_well() {
        let (failed, text) = judged((200, true), (200, true), true);
        assert!(!failed);
        assert!(text.contains("Everything is well."), "{text}");
    }

    #[test]
    fn a_missing_trust_proxy_is_a_warning_not_a_failure() {
        let (failed, text) = judged((200, true), (200, true), false);
        assert!(!failed);
        assert!(text.contains("set TRUST_PROXY=true"), "{text}");
    }

    #[test]
    fn something_that_is_not_openbin_fails() {
        assert!(judged((200, false), (200, false), true).0);
        assert!(judged((200, true), (404, false), true).0);
        assert!(judged((503, true), (503, true), true).0);
    }
}
