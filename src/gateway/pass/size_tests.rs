//! How large a request's future is. It is moved whole, more than once, before it is polled.
#![allow(unreachable_code, unused_variables, clippy::diverging_sub_expression)]

use super::*;

fn size_of_what<T>(_: impl FnOnce() -> T) -> usize {
    size_of::<T>()
}

/// May only go down; a compiler may lay it out a little differently.
const MOST_BYTES: usize = 1_900;

#[test]
fn a_requests_future_is_no_larger_than_it_was() {
    let handle = size_of_what(|| {
        let (gateway, peer): (&Gateway, &Peer) = unreachable!();
        gateway.handle(unreachable!(), peer, unreachable!())
    });
    let pass = size_of_what(|| {
        let gateway: &Gateway = unreachable!();
        gateway.pass(unreachable!(), unreachable!(), unreachable!(), unreachable!(), unreachable!())
    });
    let identify = size_of_what(|| {
        let gateway: &Gateway = unreachable!();
        gateway.identify(unreachable!(), unreachable!(), unreachable!(), unreachable!())
    });
    let forward = size_of_what(|| forward(unreachable!(), unreachable!(), unreachable!(), unreachable!()));
    println!("bytes: handle {handle}, pass {pass}, identify {identify}, forward {forward}");
    assert!(handle <= MOST_BYTES, "{handle}");
}
