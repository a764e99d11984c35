//! Where commands are run: beside a running gateway, or where none runs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use openbin_gateway::sample::{SampleOptions, SampleUser};

use crate::support::openbin::{OpenBin, Options};
use crate::support::{Gateway, Setup, Store, jwt};

pub const EMAIL: &str = "ann@example.com";

/// An OpenBin with one user, a configuration in front of it, and a gateway where one is wanted.
pub struct Desk {
    pub openbin: OpenBin,
    pub user: String,
    pub gateway: Option<Gateway>,
    pub setup: Setup,
    admin: SocketAddr,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The token of the admin listener, where the store is Redis and none lies beside it.
const TOKEN: &str = "an-admin-token-of-some-length-0123456789";

fn openbin() -> OpenBin {
    let users = vec![SampleUser::member(EMAIL, "correct horse battery")];
    let sample = SampleOptions { users, secret: jwt::SECRET.to_owned(), ..SampleOptions::default() };
    OpenBin::start(Options { sample, ..Options::default() })
}

impl Desk {
    /// A running gateway with the embedded store.
    pub async fn running() -> Self {
        Self::of(&Store::Embedded, true).await
    }

    /// An embedded store that no gateway uses.
    pub async fn alone() -> Self {
        Self::of(&Store::Embedded, false).await
    }

    pub async fn of(store: &Store, runs: bool) -> Self {
        let openbin = openbin();
        let user = openbin.sample.user_id(EMAIL).expect("Ann");
        let mut setup = store.of(Setup::of(openbin.address));
        if matches!(store, Store::Redis(_)) {
            setup.file("admin.token", TOKEN);
            setup = setup.with_admin("address: 127.0.0.1:0, token_file: admin.token");
        }
        // Nobody listens there.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut desk = Self { openbin, user, gateway: None, setup, admin: nowhere };
        desk.setup.file("gateway.yaml", &desk.setup.yaml());
        if runs {
            desk.start().await;
        }
        desk
    }

    /// Starts the gateway.
    pub async fn start(&mut self) -> &Gateway {
        let gateway = self.setup.start().await;
        self.admin = gateway.admin;
        self.gateway.insert(gateway)
    }

    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("a running gateway")
    }

    /// Runs a command, in words, with this configuration.
    pub async fn run(&self, words: &str) -> Done {
        self.run_with(words, &[], "").await
    }

    /// Runs a command with this on its standard input.
    pub async fn told(&self, words: &str, input: &str) -> Done {
        self.run_with(words, &[], input).await
    }

    /// Runs a command with further arguments, which may hold spaces.
    pub async fn run_with(&self, words: &str, more: &[&str], input: &str) -> Done {
        let mut arguments: Vec<&str> = words.split_whitespace().collect();
        arguments.extend(["--config", "gateway.yaml"]);
        arguments.extend(more);
        self.bare(&arguments, &[], input).await
    }

    /// Runs the program as it is.
    pub async fn bare(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"));
        command.args(arguments).current_dir(self.setup.directory());
        command.env_remove("SUDO_USER").env("USER", "olga");
        command.env("OPENBIN_GATEWAY__ADMIN__ADDRESS", self.admin.to_string());
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the program");
            // It may end without reading.
            let _ = child.stdin.take().expect("standard input").write_all(input.as_bytes());
            child.wait_with_output().expect("its end")
        });
        let output = ran.await.expect("a command");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let done = Done {
            code: output.status.code().expect("a code"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!done.err.contains("panicked"), "{arguments:?}: {}", done.err);
        done
    }

    /// Makes a key and returns its text.
    pub async fn create(&self, words: &str) -> String {
        let done = self.run(&format!("keys create --user {} --email {EMAIL} {words}", self.user)).await.ok();
        done.out.trim_end().to_owned()
    }

    /// Writes a CSV file of keys with these names, never used, all created at the same time, and imports it. Each
    /// key is the name's [`key_of`].
    pub async fn import(&self, names: impl IntoIterator<Item = String>, created_at: &str) {
        let mut csv = "key_hash,user_id,name,prefix,created_at\n".to_owned();
        for name in names {
            let key = key_of(&name);
            let hash = openbin_gateway::keys::KeyHash::of(&key);
            csv.push_str(&format!("{hash},{},{name},{},{created_at}\n", self.user, &key[..18]));
        }
        self.setup.file("import.csv", &csv);
        self.run("keys import --from csv:import.csv").await.ok();
    }
}

/// The text of an imported key.
pub fn key_of(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("sk_openbin_{digits:0<64}")
}

impl Done {
    /// This, if the command did what it was asked for.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    /// What it said why it did not, with this exit status.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        assert_eq!(self.out, "", "nothing is printed");
        self.err
    }

    /// Its output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Everything that it printed.
    pub fn said(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}
