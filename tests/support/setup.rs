//! A gateway's configuration, written as an operator would write it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::gateway::Gateway;
use super::process::Process;
use super::{certificate, jwt};

/// The host names that the tests' certificate is good for.
pub const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "bins.example.com", "tools.example.com"];

const NO_TOKEN: &str = "address: 127.0.0.1:0";
const ADMIN_TOKEN: &str = "canary-admin-token-5a4b3c2d1e0f";

/// What a gateway is started with. Can start several, one after the other or beside each other.
#[derive(Debug, Clone)]
pub struct Setup {
    directory: Arc<TempDir>,
    instances: Vec<Instance>,
    store: Option<String>,
    admin: String,
    lines: Vec<String>,
    environment: Vec<(String, String)>,
}

/// One instance of the configuration.
#[derive(Debug, Clone)]
pub struct Instance {
    name: String,
    hosts: Vec<String>,
    upstream: SocketAddr,
    secrets: Vec<String>,
    lines: Vec<String>,
}

impl Instance {
    /// An instance for every host, with the usual secret.
    pub fn at(upstream: SocketAddr) -> Self {
        Self {
            name: "home".to_owned(),
            hosts: Vec::new(),
            upstream,
            secrets: vec![jwt::SECRET.to_owned()],
            lines: Vec::new(),
        }
    }

    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub fn for_hosts(mut self, hosts: &[&str]) -> Self {
        self.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        self
    }

    /// The secrets of its tokens; what the files hold, white space included.
    pub fn with_secrets(mut self, secrets: &[&str]) -> Self {
        self.secrets = secrets.iter().map(|&secret| secret.to_owned()).collect();
        self
    }

    /// One more line of YAML in this instance.
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}

impl Setup {
    /// One instance that takes every host.
    pub fn of(upstream: SocketAddr) -> Self {
        Self::of_instances(vec![Instance::at(upstream)])
    }

    pub fn of_instances(instances: Vec<Instance>) -> Self {
        Self {
            directory: Arc::new(tempfile::tempdir().expect("directory")),
            instances,
            store: None,
            admin: NO_TOKEN.to_owned(),
            lines: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// One more line of YAML at the top level.
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Keeps keys in Redis instead of the embedded store. The admin API then has a token of its own.
    pub fn in_redis(self, url: &str) -> Self {
        self.in_store(&format!("{{ kind: redis, url: '{url}' }}"))
    }

    /// Keeps keys in a shared store; what stands under `store`, as a flow mapping.
    pub fn in_store(mut self, store: &str) -> Self {
        self.store = Some(store.to_owned());
        if self.admin == NO_TOKEN {
            self.file("admin.token", ADMIN_TOKEN);
            self.admin = format!("{NO_TOKEN}, token_file: admin.token");
        }
        self
    }

    /// Keeps keys in a Redis that is described by more than its URL: what stands under `store`.
    pub fn in_servers(self, store: &str) -> Self {
        let mut setup = self.in_redis("redis://replaced");
        setup.store = Some(format!("{{ kind: redis, {store} }}"));
        setup
    }

    /// The token of the admin API, where it is not the gateway's own.
    pub fn admin_token(&self) -> Option<String> {
        self.admin.contains("token_file: admin.token").then(|| ADMIN_TOKEN.to_owned())
    }

    /// What stands under `admin`, as a flow mapping without braces.
    pub fn with_admin(mut self, admin: &str) -> Self {
        admin.clone_into(&mut self.admin);
        self
    }

    /// One more environment variable.
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The embedded store's file.
    pub fn database(&self) -> PathBuf {
        self.directory().join("gateway.db")
    }

    /// Writes a file beside the configuration and returns its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory().join(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Starts a gateway and waits until it listens.
    pub async fn start(&self) -> Gateway {
        let file = self.file("gateway.yaml", &self.yaml());
        Gateway::listening(self.clone(), self.run(&["serve", "--config", &file.to_string_lossy()])).await
    }

    /// Runs the gateway's program with these arguments in the setup's directory.
    pub fn run(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"));
        command.args(arguments).current_dir(self.directory());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        Process::start(&mut command)
    }

    /// Starts a gateway that must refuse to, and returns its exit status and what it said.
    pub async fn refusal(&self) -> (Option<i32>, String) {
        self.refusal_of(&self.yaml()).await
    }

    /// Like [`Self::refusal`], with a configuration file of one's own.
    pub async fn refusal_of(&self, yaml: &str) -> (Option<i32>, String) {
        let file = self.file("gateway.yaml", yaml);
        let process = self.run(&["serve", "--config", &file.to_string_lossy()]);
        let status = process.exit().await;
        (status.code(), process.stderr().join("\n"))
    }

    /// The configuration file's text. Also writes the files that it names.
    pub fn yaml(&self) -> String {
        let pair = certificate::issue(&NAMES);
        self.file("fullchain.pem", &pair.chain);
        self.file("privkey.pem", &pair.key);
        let store = self.store.clone().unwrap_or_else(|| "{ kind: embedded, path: gateway.db }".to_owned());
        let mut out = format!(
            "listen:\n  - address: 127.0.0.1:0\n    tls: {{ certificate: fullchain.pem, key: privkey.pem }}\n  \
             - address: 127.0.0.1:0\nadmin: {{ {admin} }}\nstore: {store}\n\
             access_log: {{ path: access.log, format: json }}\n",
            admin = self.admin,
        );
        if !self.lines.iter().any(|line| line.starts_with("log:")) {
            out.push_str("log: { format: json }\n");
        }
        if !self.lines.iter().any(|line| line.starts_with("workers:")) {
            out.push_str("workers: 2\n");
        }
        for line in &self.lines {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("instances:\n");
        for instance in &self.instances {
            self.write_instance(&mut out, instance);
        }
        out
    }

    fn write_instance(&self, out: &mut String, instance: &Instance) {
        let name = &instance.name;
        let mut files = Vec::new();
        for (position, secret) in instance.secrets.iter().enumerate() {
            let file = format!("{name}-{position}.secret");
            self.file(&file, secret);
            files.push(file);
        }
        let secrets = match files.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let _ = writeln!(out, "  - name: {name}\n    upstream: http://{}", instance.upstream);
        let _ = writeln!(out, "    jwt_secret_file: {secrets}");
        if !instance.hosts.is_empty() {
            let _ = writeln!(out, "    hosts: [{}]", instance.hosts.join(", "));
        }
        for line in &instance.lines {
            let _ = writeln!(out, "    {line}");
        }
    }
}
