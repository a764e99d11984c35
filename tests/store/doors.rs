//! How a Redis server lets in: TLS, certificates, users.

use super::*;

/// A server with a port for TLS, on a certificate that the tests' authority signed.
struct Locked {
    _server: RedisServer,
    folder: Folder,
    port: u16,
}

impl Locked {
    fn start(name: &str, more: &[&str]) -> Self {
        let (folder, port) = (Folder::new(), support::port::free_port());
        let pair = certificate::issue(&[name]);
        for (file, text) in [
            ("server.pem", pair.chain.as_str()),
            ("server.key", pair.key.as_str()),
            ("ca.pem", certificate::authority_pem()),
        ] {
            std::fs::write(folder.0.join(file), text).expect("a file");
        }
        let [chain, key, ca] = ["server.pem", "server.key", "ca.pem"]
            .map(|file| folder.0.join(file).to_string_lossy().into_owned());
        let number = port.to_string();
        let mut arguments = vec!["--tls-port", &number, "--tls-cert-file", &chain, "--tls-key-file", &key];
        arguments.extend(["--tls-ca-cert-file", &ca]);
        arguments.extend(more);
        let server = RedisServer::start_with(&arguments);
        Self { _server: server, folder, port }
    }

    async fn store(&self, scheme_and_user: &str, tls: RedisTls) -> Arc<dyn Ledger> {
        let url = RedisUrl::new(format!("{scheme_and_user}127.0.0.1:{}/0", self.port));
        store_at(Place::One(url), Some(tls), TIMEOUT).await
    }

    fn authority(&self) -> Vec<u8> {
        std::fs::read(self.folder.0.join("ca.pem")).expect("the authority")
    }
}

#[tokio::test]
async fn a_server_is_reached_over_tls_by_its_own_authority_and_with_a_user() {
    let user = "--tls-auth-clients no --user ann on >s3cret ~{ns}:* -@all +@all";
    let server = Locked::start("127.0.0.1", &user.split(' ').collect::<Vec<_>>());
    let tls = RedisTls::new(Some(&server.authority()), None).expect("an authority");
    server.store("rediss://ann:s3cret@", tls.clone()).await.probe().await.expect("all works");
    // Whoever does not speak TLS there gets no answer, and says so.
    let error = server.store("redis://", tls).await.ping().await.expect_err("no TLS");
    assert!(matches!(error, StoreError::Unreachable(_) | StoreError::Timeout), "{error:?}");
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_for_it_or_not_trusted_is_not_believed() {
    let other = Locked::start("redis.example", &["--tls-auth-clients", "no"]);
    let tls = RedisTls::new(Some(&other.authority()), None).expect("an authority");
    let error = other.store("rediss://", tls).await.ping().await.expect_err("another name");
    assert!(error.to_string().contains("certificate"), "{error}");
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let tls = RedisTls::new(Some(stranger.cert.pem().as_bytes()), None).expect("an authority");
    let server = Locked::start("127.0.0.1", &["--tls-auth-clients", "no"]);
    let error = server.store("rediss://", tls).await.ping().await.expect_err("not trusted");
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let server = Locked::start("127.0.0.1", &["--tls-auth-clients", "yes"]);
    let authority = server.authority();
    let own = certificate::issue(&["gateway.example"]);
    let pair = Some((own.chain.as_bytes(), own.key.as_bytes()));
    let tls = RedisTls::new(Some(&authority), pair).expect("a certificate");
    server.store("rediss://", tls).await.probe().await.expect("all works");
    let without = RedisTls::new(Some(&authority), None).expect("an authority");
    let error = server.store("rediss://", without).await.ping().await.expect_err("no certificate");
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_too_old_or_no_redis_is_refused_in_clear_words() {
    let server = RedisServer::start();
    let hello = |version: &str| {
        let words = ["server", "redis", "version", version, "mode", "standalone", "role", "master"];
        let texts: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*8\r\n{texts}").into_bytes()
    };
    for (answer, what) in [
        (hello("6.0.16"), "version 6.0.16; it must be of version 6.2 or newer"),
        (b"-ERR unknown command `HELLO`, with args beginning with: \r\n".to_vec(), "of version 6.2 or newer"),
        (b"+OK\r\n".to_vec(), "does not greet as a Redis server does"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no answer"),
    ] {
        let old = support::scripted::Scripted::before(server.port()).await;
        old.set(support::scripted::Mode::Answer(answer));
        let error = redis(&old.url(), TIMEOUT).await.ping().await.expect_err("too old");
        assert!(error.to_string().contains(what), "{error}");
    }
}
