//! Numbers, times and addresses as they stand in a line of the access log. Written digit by digit: a line has a
//! dozen of them, and the standard library's formatting would take most of the time that a line takes.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Appends a whole number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut begin = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = last_digit(rest);
        begin = place;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

/// Appends a time in milliseconds, with three decimals.
pub(super) fn milliseconds(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from((time.as_nanos() + 500) / 1000).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    out.push(b'.');
    padded::<3>(out, micros % 1000);
}

/// Appends an address.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                number(out, octet.into());
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends a time as RFC 3339 writes it, in UTC with milliseconds.
pub(super) fn time(out: &mut Vec<u8>, time: SystemTime) {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    padded::<4>(out, year);
    out.push(b'-');
    padded::<2>(out, month);
    out.push(b'-');
    padded::<2>(out, day);
    out.push(b'T');
    padded::<2>(out, seconds / 3600 % 24);
    out.push(b':');
    padded::<2>(out, seconds / 60 % 60);
    out.push(b':');
    padded::<2>(out, seconds % 60);
    out.push(b'.');
    padded::<3>(out, since_epoch.subsec_millis().into());
    out.push(b'Z');
}

/// Appends a number's last so many digits.
fn padded<const DIGITS: usize>(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut rest) = ([0; DIGITS], number);
    for digit in digits.iter_mut().rev() {
        *digit = last_digit(rest);
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

fn last_digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

/// The Gregorian date of a day since 1970-01-01, counted in years that begin in March, so that the leap
/// day is the last of its year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_have_all_of_their_digits() {
        for value in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
    }

    #[test]
    fn durations_are_rounded_to_the_microsecond() {
        for (nanos, wanted) in [
            (0, "0.000"),
            (499, "0.000"),
            (500, "0.001"),
            (1_500_000, "1.500"),
            (999_999_600, "1000.000"),
            (61_000_002_000, "61000.002"),
        ] {
            assert_eq!(written(|out| milliseconds(out, Duration::from_nanos(nanos))), wanted);
        }
    }

    #[test]
    fn addresses_are_written_as_everywhere() {
        for text in ["0.0.0.0", "192.0.2.7", "255.255.255.255", "::1", "2001:db8::7"] {
            assert_eq!(written(|out| address(out, text.parse().expect("an address"))), text);
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(written(|out| time(out, at)), wanted);
        }
    }
}
