//! `serve`: a configuration from a file, or from flags, and then the gateway itself.

use std::path::PathBuf;

use super::Failure;
use crate::app;
use crate::config::{Config, Flags, Sources, Tls};

/// What `serve` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway serve --config /etc/openbin-gateway/gateway.yaml
  openbin-gateway serve --upstream http://127.0.0.1:1453 --jwt-secret-file /data/.jwt_secret \\
      --listen 0.0.0.0:443 --tls-certificate fullchain.pem --tls-key privkey.pem";

/// Where the configuration comes from: a file, or flags for the most common settings. The environment counts in
/// either case.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// The configuration file (see gateway.example.yaml)
    #[arg(long, short, value_name = "FILE", conflicts_with_all = FLAGS)]
    pub(super) config: Option<PathBuf>,
    /// Without a file: where OpenBin is, such as http://127.0.0.1:1453
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Without a file: OpenBin's JWT secret, usually the file .jwt_secret beside its database
    #[arg(long, value_name = "FILE", conflicts_with = "jwt_secret_env")]
    jwt_secret_file: Option<PathBuf>,
    /// Without a file: the environment variable that holds OpenBin's JWT secret
    #[arg(long, value_name = "NAME")]
    jwt_secret_env: Option<String>,
    /// Without a file: a host to answer to; may be repeated [default: every host]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Without a file: an address to listen on; may be repeated [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Without a file: the certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with_all = ["self_signed", "plain"])]
    tls_certificate: Option<PathBuf>,
    /// Without a file: the certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Without a file: a certificate made at each start, for trying it out (the default)
    #[arg(long, conflicts_with = "plain")]
    self_signed: bool,
    /// Without a file: plain HTTP, for use behind a proxy that has TLS [default address: 127.0.0.1:8080]
    #[arg(long)]
    plain: bool,
    /// Without a file: where keys are kept, an SQLite file or a Redis URL [default: gateway.db]
    #[arg(long, value_name = "PATH|URL")]
    store: Option<String>,
    /// Without a file: where the admin listener is [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

const FLAGS: [&str; 11] = [
    "upstream",
    "jwt_secret_file",
    "jwt_secret_env",
    "host",
    "listen",
    "tls_certificate",
    "tls_key",
    "self_signed",
    "plain",
    "store",
    "admin",
];

impl SourceArgs {
    /// These arguments together with the process's environment.
    pub(super) fn sources(self) -> Sources {
        let tls = match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::Files { certificate, key }),
            (Some(_), None) | (None, Some(_)) | (None, None) if self.plain => Some(Tls::Plain),
            (Some(_), None) | (None, Some(_)) | (None, None) => self.self_signed.then_some(Tls::SelfSigned),
        };
        let flags = Flags {
            upstream: self.upstream,
            hosts: self.host,
            jwt_secret_file: self.jwt_secret_file,
            jwt_secret_env: self.jwt_secret_env,
            listen: self.listen,
            tls,
            store: self.store,
            admin: self.admin,
        };
        Sources::with_environment(self.config, flags)
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let sources = args.source.sources();
    let config = Config::load(sources.clone())?;
    // The environment is read again too: what a key names there may have been set anew.
    let reload =
        move || Ok(Config::load(Sources::with_environment(sources.file.clone(), sources.flags.clone()))?);
    Ok(app::run(config, app::Run { reload: Box::new(reload), ready: Box::new(|_| {}) })?)
}
