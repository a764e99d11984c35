//! How a gateway follows the log of a real server.

use openbin_gateway::keys::Change;
use openbin_gateway::keys::lease::{Follower, Moment};

use super::support::scripted::{Mode, Scripted};
use super::*;

#[tokio::test]
async fn a_lease_is_not_renewed_by_the_answer_to_an_earlier_renewal() {
    let server = RedisServer::start();
    let between = Scripted::before(server.port()).await;
    let store = redis(&between.url(), Duration::from_millis(500)).await;
    let mut follower = Follower::<Change>::new(Duration::from_secs(1));
    let renew = async |follower: &Follower<Change>| {
        let asked = follower.ask(Moment::now());
        store.renew("gateway@here", follower.term(), &asked).await.map(|renewed| (asked, renewed))
    };
    for _ in 0..2 {
        let (asked, renewed) = renew(&follower).await.expect("an answer");
        let heard = follower.hear(asked, renewed);
        let _ = follower.applied(heard);
    }
    assert!(follower.ask(Moment::now()).position.is_some(), "it follows");
    // Nothing was written meanwhile: but for its number the answer is the same, word for word.
    between.set(Mode::Behind);
    renew(&follower).await.expect_err("the answer to an earlier question");
    between.set(Mode::Pass);
    until_it_answers(|| renew(&follower)).await;
}
