//! What an instance says before its answer (RFC 9110 §15.2).

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::Line;
use crate::http::header::remove_forbidden_in_interim;

/// An interim response.
struct Interim {
    status: StatusCode,
    fields: HeaderMap,
}

/// Tells a client of those that came.
pub(super) fn pass_on(heads: &[u8], line: &Line) {
    for Interim { status, mut fields } in read(heads) {
        remove_forbidden_in_interim(&mut fields);
        line.say(status, &fields);
    }
}

/// Whether a status line that begins so is that of a head to be kept: 100 is this hop's own matter, and 101 an answer.
pub(super) fn is_kept(beginning: [u8; STATUS_END]) -> bool {
    let status = beginning.strip_prefix(b"HTTP/1.1 1");
    matches!(status, Some([tens, ones]) if tens.is_ascii_digit() && (b'2'..=b'9').contains(ones))
        || matches!(status, Some([b'1'..=b'9', ones]) if ones.is_ascii_digit())
}

/// Reads heads, each with its empty line. What is not well-formed is left out: hyper will not take it either.
fn read(heads: &[u8]) -> impl Iterator<Item = Interim> {
    let mut rest = heads;
    std::iter::from_fn(move || {
        let length = memchr::memmem::find(rest, b"\r\n\r\n")? + 2;
        let (head, behind) = rest.split_at(length);
        rest = behind.get(2..).unwrap_or_default();
        Some(head)
    })
    .filter_map(head)
}

/// Reads one head, without its empty line.
fn head(head: &[u8]) -> Option<Interim> {
    let (line, mut rest) = next_line(head)?;
    let (beginning, reason) = line.split_first_chunk()?;
    if !is_kept(*beginning) || !matches!(reason.first(), None | Some(b' ')) {
        return None;
    }
    let status = StatusCode::from_bytes(beginning.get(STATUS_END - 3..)?).ok()?;
    let mut fields = HeaderMap::new();
    while let Some((line, behind)) = next_line(rest) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = without_space(line.get(colon + 1..)?);
        fields.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
        rest = behind;
    }
    rest.is_empty().then_some(Interim { status, fields })
}

/// Without the optional white space (RFC 9110 §5.6.3) around it.
fn without_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = value {
        value = inner;
    }
    value
}

fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(text, b"\r\n")?;
    Some((text.get(..end)?, text.get(end + 2..)?))
}

/// `HTTP/1.1 200`.
pub(super) const STATUS_END: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(heads: &str) -> Vec<(u16, Vec<String>)> {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}={}", String::from_utf8_lossy(value.as_bytes()))
        };
        read(heads.as_bytes())
            .map(|one| (one.status.as_u16(), one.fields.iter().map(field).collect()))
            .collect()
    }

    #[test]
    fn heads_are_read_one_after_the_other() {
        assert_eq!(all(""), []);
        assert_eq!(all("HTTP/1.1 102\r\n\r\n"), [(102, vec![])]);
        assert_eq!(
            all(
                "HTTP/1.1 103 Early Hints\r\nLink:  </a> \t\r\nEMPTY:\r\n\r\nHTTP/1.1 199 \r\na: b: c\r\na: d\r\n\r\n"
            ),
            [
                (103, vec!["link=</a>".to_owned(), "empty=".to_owned()]),
                (199, vec!["a=b: c".to_owned(), "a=d".to_owned()])
            ]
        );
    }

    #[test]
    fn what_is_not_well_formed_is_left_out_alone() {
        for bad in [
            "HTTP/1.1 103Early\r\n\r\n",
            "HTTP/1.0 103 Early\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 1\r\n\r\n",
            "HTTP/1.1 103 x\r\nno colon\r\n\r\n",
            "HTTP/1.1 103 x\r\n: v\r\n\r\n",
            "HTTP/1.1 103 x\r\na : v\r\n\r\n",
            "HTTP/1.1 103 x\r\na: v\r\n folded\r\n\r\n",
            "HTTP/1.1 103 x\r\na: v\nb: w\r\n\r\n",
            "HTTP/1.1 103 x\r\na: v\rb: w\r\n\r\n",
            "HTTP/1.1 103 x\r\na: \rv\r\n\r\n",
            "HTTP/1.1 103 x\r\na: \0\r\n\r\n",
        ] {
            assert_eq!(all(bad), [], "{bad:?}");
            assert_eq!(all(&format!("{bad}HTTP/1.1 102 x\r\n\r\n")), [(102, vec![])], "{bad:?}");
        }
        assert_eq!(all("HTTP/1.1 103 x\r\na: v\r\n"), [], "not whole");
    }
}
