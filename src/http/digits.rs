//! Numbers and addresses as text, digit by digit: in the request path, the standard library's formatting costs more
//! than what is done with the text.

use std::io::Write;
use std::net::IpAddr;

/// Appends a whole number to what is in memory, and has room for it.
pub fn append_number(text: &mut impl Write, number: u64) {
    let (mut digits, mut rest, mut length) = ([0; LONGEST_NUMBER], number, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    // Writing to memory cannot fail.
    let _ = text.write_all(digits.get(LONGEST_NUMBER - length..).unwrap_or_default());
}

/// Appends an address likewise.
pub fn append_address(text: &mut impl Write, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    let _ = text.write_all(b".");
                }
                append_number(text, octet.into());
            }
        }
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

/// Of 64 bits.
const LONGEST_NUMBER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 255, 1_000_000_007, u64::MAX] {
            let mut text = b"r=".to_vec();
            append_number(&mut text, number);
            assert_eq!(text, format!("r={number}").into_bytes());
        }
        for address in ["0.0.0.0", "255.255.255.255", "192.0.2.10", "::", "2001:db8::1", "::ffff:192.0.2.1"] {
            let mut text = Vec::new();
            append_address(&mut text, address.parse().expect("an address"));
            assert_eq!(text, address.as_bytes());
        }
    }
}
