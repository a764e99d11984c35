//! Headers as proxies send them, and as nobody should.

use proptest::prelude::*;

use super::*;

/// A header of version 2: command, family, and what follows them.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb];

fn whole(bytes: &[u8]) -> Option<SocketAddr> {
    match parse(bytes) {
        Ok(Preface::Whole { length, client }) => {
            assert_eq!(length, bytes.len(), "{bytes:?}");
            client
        }
        other => panic!("{bytes:?}: {other:?}"),
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn the_client_of_a_line_is_read() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
    assert_eq!(whole(line), address("192.0.2.1:56324"));
    let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n";
    assert_eq!(whole(line), address("[2001:db8::1]:1"));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(whole(b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), None);
}

#[test]
fn the_client_of_a_binary_header_is_read() {
    assert_eq!(whole(&binary(0x21, 0x11, &IPV4)), address("192.0.2.1:8080"));
    let mut six = [0; 36];
    six[..2].copy_from_slice(&[0x20, 0x01]);
    six[15] = 7;
    six[32..34].copy_from_slice(&[0, 80]);
    assert_eq!(whole(&binary(0x21, 0x21, &six)), address("[2001::7]:80"));
}

#[test]
fn who_speaks_for_itself_or_has_no_ip_address_has_no_client() {
    for (command, family, rest) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &IPV4),
        (0x20, 0x11, &[]),
        (0x20, 0xff, b"anything"),
        (0x21, 0x00, b"anything"),
        (0x21, 0x31, &[b'/'; 216]),
        (0x21, 0x32, &[b'/'; 216]),
    ] {
        assert_eq!(whole(&binary(command, family, rest)), None, "{command:x} {family:x}");
    }
}

#[test]
fn extensions_are_passed_over() {
    let noop = [0x04, 0, 2, 0, 0];
    let authority = [&[0x02, 0, 9][..], b"localhost"].concat();
    let rest = [&IPV4[..], &noop, &authority].concat();
    assert_eq!(whole(&binary(0x21, 0x11, &rest)), address("192.0.2.1:8080"));
}

#[test]
fn a_checksum_must_be_right() {
    let rest = [&IPV4[..], &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat();
    let mut header = binary(0x21, 0x11, &rest);
    let end = header.len();
    assert!(parse(&header).is_err());
    let right = checksum(&header, end - 4..end);
    header[end - 4..].copy_from_slice(&right.to_be_bytes());
    assert_eq!(whole(&header), address("192.0.2.1:8080"));
    header[16] ^= 1;
    assert!(parse(&header).is_err());
    // RFC 3720, B.4.
    assert_eq!(checksum(&[0; 32], 0..0), 0x8a91_36aa);
}

#[test]
fn what_is_no_header_is_refused() {
    let longest = format!("PROXY TCP6 {} ::1 1 1\r\n", "0".repeat(100));
    let mut cases: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        &longest,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    cases.extend([
        binary(0x22, 0x11, &IPV4),
        binary(0x11, 0x11, &IPV4),
        binary(0x21, 0x12, &IPV4),
        binary(0x21, 0x41, &IPV4),
        binary(0x21, 0x11, &IPV4[..11]),
        binary(0x21, 0x21, &IPV4),
        binary(0x21, 0x11, &[&IPV4[..], &[4]].concat()),
        binary(0x21, 0x11, &[&IPV4[..], &[4, 0, 9, 1]].concat()),
        binary(0x21, 0x11, &[&IPV4[..], &[CHECKSUM, 0, 3, 1, 2, 3]].concat()),
        binary(0x20, 0x00, &[0; LONGEST_HEADER]),
    ]);
    for case in cases {
        assert!(parse(&case).is_err(), "{:?}", String::from_utf8_lossy(&case));
    }
}

#[test]
fn a_header_is_partial_until_its_last_byte_and_takes_nothing_of_what_follows() {
    let rest = [&IPV4[..], &[4, 0, 1, 0]].concat();
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec();
    for header in [line, binary(0x21, 0x11, &rest), binary(0x20, 0, &[])] {
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Ok(Preface::Partial), "{end}");
        }
        let before = parse(&header);
        assert!(matches!(before, Ok(Preface::Whole { length, .. }) if length == header.len()));
        assert_eq!(parse(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), before);
    }
}

proptest! {
    #[test]
    fn no_bytes_are_read_beyond_their_end(bytes in prop::collection::vec(any::<u8>(), 0..600), start in 0..3_usize) {
        let starts = [Vec::new(), b"PROXY TCP4 ".to_vec(), [SIGNATURE, &[0x21, 0x11]].concat()];
        let bytes = [&starts[start][..], &bytes].concat();
        if let Ok(Preface::Whole { length, .. }) = parse(&bytes) {
            prop_assert!(length <= bytes.len() && length <= LONGEST_HEADER);
            prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
        }
    }

    #[test]
    fn whatever_client_is_told_is_the_one_that_is_read(source: [u8; 4], port: u16, tail in prop::collection::vec(any::<u8>(), 0..40)) {
        let client = SocketAddr::from((source, port));
        let line = format!("PROXY TCP4 {} 127.0.0.1 {port} 443\r\n", client.ip());
        let told = Preface::Whole { length: line.len(), client: Some(client) };
        prop_assert_eq!(parse(&[line.as_bytes(), &tail].concat()), Ok(told));
        let mut addresses = IPV4;
        addresses[..4].copy_from_slice(&source);
        addresses[8..10].copy_from_slice(&port.to_be_bytes());
        let header = binary(0x21, 0x11, &addresses);
        let told = Preface::Whole { length: header.len(), client: Some(client) };
        prop_assert_eq!(parse(&[&header[..], &tail].concat()), Ok(told));
    }
}
