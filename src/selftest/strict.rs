//! A reader of HTTP/1.1 requests that accepts nothing but what RFC 9112 has a sender generate.

/// One request as it came, to the letter.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its fields, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Vec<u8>,
    /// Its trailer fields.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// The values of all fields of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }
}

/// Reads one request from the start of some bytes: it and its length, or `None` where more must come.
///
/// # Errors
/// What is wrong with it.
pub fn request(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return lines(bytes).map(|_| None);
    };
    let mut lines = lines(part(bytes, 0, end + 2))?.into_iter();
    let line = lines.next().ok_or("no request line")?;
    let (method, target) = request_line(line)?;
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let mut message = Message { method, target, fields, body: Vec::new(), trailers: Vec::new() };
    check_fields(&message)?;
    let rest = bytes.get(end + 4..).unwrap_or_default();
    let Some(length) = body(&mut message, rest)? else { return Ok(None) };
    Ok(Some((message, end + 4 + length)))
}

fn check_fields(message: &Message) -> Result<(), String> {
    if message.all("host").len() != 1 {
        return Err(format!("{} Host fields", message.all("host").len()));
    }
    for name in
        ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade", "expect"]
    {
        if !message.all(name).is_empty() {
            return Err(format!("{name} was passed on"));
        }
    }
    Ok(())
}

/// Reads the body; the length of it and its framing, or `None` where more must come.
fn body(message: &mut Message, rest: &[u8]) -> Result<Option<usize>, String> {
    let (lengths, codings) = (message.all("content-length"), message.all("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some(0)),
        ([length], []) => {
            if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                return Err(format!("a length of {:?}", String::from_utf8_lossy(length)));
            }
            let length = String::from_utf8_lossy(length).parse::<usize>();
            let length = length.map_err(|error| error.to_string())?;
            let Some(body) = rest.get(..length) else { return Ok(None) };
            message.body = body.to_vec();
            Ok(Some(length))
        }
        ([], [b"chunked"]) => chunks(message, rest),
        _ => Err(format!("framed by {} lengths and {} codings", lengths.len(), codings.len())),
    }
}

fn chunks(message: &mut Message, bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(bytes.get(at..).unwrap_or_default(), b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(part(bytes, at, at + end)).into_owned();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("a chunk size of {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|error| error.to_string())?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = at.checked_add(size).and_then(|end| bytes.get(at..end.checked_add(2)?)) else {
            return Ok(None);
        };
        let (data, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err("a chunk that does not end where it says".to_owned());
        }
        message.body.extend_from_slice(data);
        at += size + 2;
    }
    loop {
        let Some(end) = find(bytes.get(at..).unwrap_or_default(), b"\r\n") else { return Ok(None) };
        let line = part(bytes, at, at + end);
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        message.trailers.push(field(line)?);
    }
}

fn part(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Splits at CRLF; a CR or LF of its own is an error.
fn lines(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let (mut lines, mut rest) = (Vec::new(), bytes);
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(part(rest, 0, end));
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    let whole = lines.iter().all(|line| !line.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    let tail = rest.strip_suffix(b"\r").unwrap_or(rest);
    if whole && !tail.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        Ok(lines)
    } else {
        Err("a CR or LF of its own".to_owned())
    }
}

fn request_line(line: &[u8]) -> Result<(String, String), String> {
    let text = String::from_utf8_lossy(line).into_owned();
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts[..] else { return Err(format!("request line {text:?}")) };
    let graphic = target.iter().all(u8::is_ascii_graphic) && !target.contains(&b'#');
    if method.is_empty() || !method.iter().all(is_token) || target.is_empty() || !graphic {
        return Err(format!("request line {text:?}"));
    }
    let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((owned(method), owned(target)))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let wrong = || format!("field {:?}", String::from_utf8_lossy(line));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
    let (name, value) = (part(line, 0, colon), part(line, colon + 1, line.len()).trim_ascii());
    let clean = value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
    if name.is_empty() || !name.iter().all(is_token) || !clean {
        return Err(wrong());
    }
    Ok((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_generated_is_accepted() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n";
        assert!(matches!(request(format!("{get}\r\nx").as_bytes()), Ok(Some((_, 27)))));
        assert!(matches!(request(get.as_bytes()), Ok(None)));
        let chunked = format!("{get}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n");
        let (message, length) = request(chunked.as_bytes()).expect("valid").expect("whole");
        assert_eq!((message.body.as_slice(), length), (&b"x"[..], chunked.len()));
        for wrong in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\n",
        ] {
            assert!(request(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
