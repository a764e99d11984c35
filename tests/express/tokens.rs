//! Session tokens: whatever jose refuses with OpenBin's own settings is refused; what is refused beyond that is
//! refused for a reason that is written down.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Recorder, Request, Setup, Wire, jwt};

use super::node::verdicts;
use super::token_cases::cases;

#[tokio::test]
#[ignore = "needs node and npm: make express"]
async fn no_token_is_accepted_that_jose_refuses_and_others_are_refused_for_a_reason() {
    let cases = cases();
    assert!(cases.len() >= 130, "{}", cases.len());
    let tokens: Vec<_> = cases.iter().map(|case| &case.token).collect();
    let theirs = verdicts(&json!({ "secret": jwt::SECRET, "tokens": tokens }));
    assert_eq!(theirs.len(), cases.len());
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { bad_credentials: off }").start().await;
    let mut wire = Wire::plain(gateway.http).await;
    let (mut wrong, mut tally) = (Vec::new(), BTreeMap::<_, usize>::new());
    for (case, theirs) in cases.iter().zip(theirs) {
        let response = Request::get("/api/bins").bearer(&case.token).on(&mut wire).await;
        let (ours, accepted) = (response.status == 200, theirs["accepted"] == true);
        if !matches!(response.status, 200 | 401) {
            wrong.push(format!("{}: {}", case.name, response.status));
        }
        if ours && !accepted {
            wrong.push(format!("{}: accepted here, refused by jose: {theirs}", case.name));
        }
        if accepted && !ours && case.stricter.is_none() {
            wrong.push(format!("{}: refused here, accepted by jose", case.name));
        }
        if ours {
            let user = upstream.last().field("x-auth-user-id").map(str::to_owned);
            if case.name.contains("line end") {
                continue;
            }
            if user.as_deref() != theirs["id"].as_str() {
                wrong.push(format!("{}: told as {user:?}, jose reads {theirs}", case.name));
            }
        }
        *tally.entry((ours, accepted)).or_default() += 1;
    }
    println!("{} tokens, (accepted here, accepted by jose): {tally:?}", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
