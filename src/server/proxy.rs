//! The PROXY protocol: who a proxy in front says that its client is, before the first byte of TLS or HTTP.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, versions 1 and 2. Only the client's address is
//! taken over; who may say it is the listener's matter. Nothing behind the header is ever read here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What bytes at the beginning of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// All of them belong to a header whose end has not come yet.
    Partial,
    /// A whole header, and nothing wrong with it.
    Whole {
        /// How many bytes it has.
        length: usize,
        /// The client; `None` where the proxy speaks for itself, or for a client without an IP address.
        client: Option<SocketAddr>,
    },
}

/// The bytes are no header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no header of the PROXY protocol: {0}")]
pub struct Malformed(&'static str);

/// Reads a header, of either version.
///
/// # Errors
/// Where no bytes that could follow would make it one.
pub fn parse(bytes: &[u8]) -> Result<Preface, Malformed> {
    if agrees(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if agrees(bytes, b"PROXY ") {
        return version_1(bytes);
    }
    Err(Malformed("it begins otherwise"))
}

/// Whether one is the beginning of the other.
fn agrees(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

/// §2.1: one line of text.
fn version_1(bytes: &[u8]) -> Result<Preface, Malformed> {
    let line = bytes.get(..LONGEST_LINE.min(bytes.len())).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if bytes.len() >= LONGEST_LINE {
            Err(Malformed("the line is too long"))
        } else {
            Ok(Preface::Partial)
        };
    };
    let length = end + 1;
    let text = line.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed("a lone LF"))?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed("the line is not ASCII"))?;
    let rest = text.strip_prefix("PROXY ").ok_or(Malformed("it begins otherwise"))?;
    // Whatever follows UNKNOWN is to be ignored.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(Preface::Whole { length, client: None });
    }
    let parts: Vec<&str> = rest.split(' ').collect();
    let &[family, source, destination, source_port, destination_port] = parts.as_slice() else {
        return Err(Malformed("the line has not six parts"));
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (Some(client), Some(_)) = (address(source), address(destination)) else {
        return Err(Malformed("an address does not belong to its family"));
    };
    let (Some(port), Some(_)) = (port(source_port), port(destination_port)) else {
        return Err(Malformed("a port is not a number from 0 to 65535"));
    };
    Ok(Preface::Whole { length, client: Some(SocketAddr::new(client, port)) })
}

/// §2.1: decimal, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| plain)
}

/// §2.2: binary.
fn version_2(bytes: &[u8]) -> Result<Preface, Malformed> {
    let (command, family) = (bytes.get(12), bytes.get(13));
    let is_local = match command {
        None => return Ok(Preface::Partial),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Malformed("the version or the command is unknown")),
    };
    let room = match family {
        None => return Ok(Preface::Partial),
        // Families and transports beyond these must not be sent; datagrams do not come over TCP.
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31 | 0x32) => 216,
        Some(_) if is_local => 0,
        Some(_) => return Err(Malformed("the family or the transport is unknown")),
    };
    let Some(&[high, low]) = bytes.get(14..16) else { return Ok(Preface::Partial) };
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_HEADER {
        return Err(Malformed("it is too long"));
    }
    if !is_local && length < 16 + room {
        return Err(Malformed("it is too short for its addresses"));
    }
    let Some(whole) = bytes.get(..length) else { return Ok(Preface::Partial) };
    if is_local || room == 0 {
        return Ok(Preface::Whole { length, client: None });
    }
    extensions(whole, 16 + room)?;
    Ok(Preface::Whole { length, client: client(whole, room) })
}

fn client(header: &[u8], room: usize) -> Option<SocketAddr> {
    let addresses = header.get(16..16 + room)?;
    let (address, port_at) = match room {
        12 => (IpAddr::from(<[u8; 4]>::try_from(addresses.get(..4)?).ok()?), 8),
        36 => (IpAddr::from(<[u8; 16]>::try_from(addresses.get(..16)?).ok()?), 32),
        _ => return None,
    };
    let port = u16::from_be_bytes(addresses.get(port_at..port_at + 2)?.try_into().ok()?);
    Some(SocketAddr::new(address, port))
}

/// §2.2.7: passed over, but they must fill the header; a checksum (§2.2.3) must be right.
fn extensions(header: &[u8], start: usize) -> Result<(), Malformed> {
    let mut at = start;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(Malformed("an extension is cut off"));
        };
        let value = at + 3;
        at = value + usize::from(u16::from_be_bytes([high, low]));
        let Some(content) = header.get(value..at) else {
            return Err(Malformed("an extension is longer than the header"));
        };
        if kind == CHECKSUM {
            let told: [u8; 4] =
                content.try_into().map_err(|_| Malformed("the checksum has not four bytes"))?;
            if u32::from_be_bytes(told) != checksum(header, value..at) {
                return Err(Malformed("the checksum is wrong"));
            }
        }
    }
    Ok(())
}

/// CRC-32C, with the checksum's own place taken for zeros. Bit by bit: headers are short, and few have one.
fn checksum(header: &[u8], own: std::ops::Range<usize>) -> u32 {
    const CASTAGNOLI: u32 = 0x82f6_3b78;
    let mut crc = !0_u32;
    for (at, byte) in header.iter().enumerate() {
        crc ^= if own.contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { CASTAGNOLI } else { 0 };
        }
    }
    !crc
}

/// Reads the header off a connection, and not one byte more: what follows may be TLS.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = [0; LONGEST_HEADER];
    let mut taken = 0;
    loop {
        let room = header.get_mut(taken..).unwrap_or_default();
        let seen = stream.peek(room).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let came = header.get(..taken + seen).unwrap_or_default();
        let parsed = parse(came).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let until = match parsed {
            Preface::Partial => taken + seen,
            Preface::Whole { length, .. } => length,
        };
        // They are there already, so this does not wait.
        stream.read_exact(header.get_mut(taken..until).unwrap_or_default()).await?;
        taken = until;
        if let Preface::Whole { client, .. } = parsed {
            return Ok(client);
        }
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1, with its CRLF.
const LONGEST_LINE: usize = 107;
/// Ample for addresses, names and what proxies tell of TLS.
const LONGEST_HEADER: usize = 2048;
const CHECKSUM: u8 = 3;

#[cfg(test)]
mod tests;
