//! An OpenBin with a user, their key and its secret in a file.

use std::io::Write as _;

use openbin_gateway::sample::{Sample, SampleOptions, SampleUser};

const EMAIL: &str = "ann@example.com";

pub struct Instance {
    pub sample: Sample,
    pub url: String,
    pub user: String,
    pub key: String,
    pub secret: tempfile::NamedTempFile,
}

impl Instance {
    pub fn new() -> Self {
        let users = vec![SampleUser::member(EMAIL, "correct horse battery")];
        let sample = Sample::new(SampleOptions { users, ..SampleOptions::default() });
        let user = sample.user_id(EMAIL).expect("Ann");
        let key = sample.create_key(&user, "self-test").expect("a key").key;
        let mut secret = tempfile::NamedTempFile::new().expect("a file");
        secret.write_all(sample.secret().as_bytes()).expect("written");
        let url = format!("http://{}", sample.listen().expect("a port"));
        Self { sample, url, user, key, secret }
    }
}
