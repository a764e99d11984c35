//! A gateway decides as the instance behind it, for every credential, cookie, scheme, path, method and protocol.

use openbin_gateway::selftest::{Both, Parity, Persona, Place, Trust};

use crate::instance::Instance;
use crate::{said, selftest};

impl Instance {
    fn compare(&self, seed: &str, count: &str) {
        let secret = self.secret.path().to_str().expect("a path");
        let arguments =
            ["parity", "--stdin", "--upstream", &self.url, "--jwt-secret-file", secret, "--seed", seed];
        let output = selftest(&[&arguments[..], &["--count", count]].concat(), &format!("{}\n", self.key));
        let said = said(&output);
        println!("{said}");
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(&format!("{count} requests: ")), "{said}");
        assert!(!said.contains(&self.key) && !said.contains(self.sample.secret()), "a secret is printed");
    }
}

#[test]
fn a_gateway_decides_as_the_instance_behind_it() {
    let instance = Instance::new();
    instance.compare("1", "2000");
    instance.compare("2", "1000");
}

#[test]
#[ignore = "100,000 requests, twice each; `make parity` runs it"]
fn a_gateway_decides_as_the_instance_behind_it_a_hundred_thousand_times() {
    Instance::new().compare("20261124", "100000");
}

#[tokio::test]
async fn a_gateway_that_decides_otherwise_is_found_out() {
    let (one, other) = (Instance::new(), Instance::new());
    let place = |instance: &Instance| Place::of(&instance.url, &Trust::Anyone).expect("a place");
    let both = Both { instance: place(&one), gateway: place(&other) };
    let persona = Persona { user_id: one.user.clone(), key: Some(one.key.clone()), ..Persona::default() };
    let parity = Parity { seed: 3, first: 0, count: 500, lanes: 2 };
    let found = parity.run(&both, &persona).await;
    assert_eq!(found.compared, 500);
    assert!(found.different > 0, "a key that only one of them knows was decided alike");
    let told = found.differences[0].to_string();
    assert!(told.contains("<good key>") && !told.contains(&one.key), "{told}");
    let again = Parity { first: found.differences[0].trial.number, count: 1, ..parity };
    assert_eq!(again.run(&both, &persona).await.differences[0].to_string(), told);
}

#[test]
fn without_anybody_to_be_nothing_is_compared() {
    let instance = Instance::new();
    let secret = instance.secret.path().to_str().expect("a path");
    let given = ["parity", "--upstream", &instance.url, "--jwt-secret-file", secret];
    assert_eq!(selftest(&given, "").status.code(), Some(2));
    let empty = selftest(&[&given[..], &["--stdin"]].concat(), "\n");
    assert_eq!(empty.status.code(), Some(2), "{}", said(&empty));
}
