//! Where a request and a reply end in a stream of RESP2 or RESP3, and the little of their content that faults ask for.
//!
//! Knows no connection and no fault. What is not RESP is taken as one frame as it is: the server will say what is wrong.

/// Takes whole requests off a stream, one after the other. What is left is the beginning of the next.
pub(super) fn requests(stream: &mut Vec<u8>) -> Vec<Vec<u8>> {
    frames(stream, request_end)
}

/// Takes whole replies and push messages off a stream, one after the other.
pub(super) fn replies(stream: &mut Vec<u8>) -> Vec<Vec<u8>> {
    frames(stream, reply_end)
}

/// Why there is no whole frame.
enum Not {
    /// More bytes must come.
    Yet,
    /// It is not RESP.
    Resp,
}

fn frames(stream: &mut Vec<u8>, end: fn(&[u8]) -> Result<usize, Not>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        let length = match end(&stream[at..]) {
            Ok(length) => length,
            Err(Not::Yet) => break,
            Err(Not::Resp) => stream.len() - at,
        };
        frames.push(stream[at..at + length].to_vec());
        at += length;
    }
    stream.drain(..at);
    frames
}

/// The words of a request: those of an array of bulk strings, or of a line as people type it.
pub(super) fn words(request: &[u8]) -> Vec<&[u8]> {
    if request.first() != Some(&b'*') {
        return request.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    }
    let mut cursor = Cursor { bytes: request, at: 0 };
    let Ok((_, count)) = cursor.header() else { return Vec::new() };
    (0..count).map_while(|_| cursor.bulk()).collect()
}

/// Whether a frame from the server is a push message of RESP3.
pub(super) fn is_push(reply: &[u8]) -> bool {
    reply.first() == Some(&b'>')
}

/// The first element of a push message or of an array: what kind of message it is.
pub(super) fn kind(reply: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor { bytes: reply, at: 0 };
    match cursor.header() {
        Ok((b'*' | b'>', 1..)) => cursor.bulk(),
        _ => None,
    }
}

fn request_end(bytes: &[u8]) -> Result<usize, Not> {
    let mut cursor = Cursor { bytes, at: 0 };
    if bytes.first() != Some(&b'*') {
        cursor.line()?;
        return Ok(cursor.at);
    }
    let (_, count) = cursor.header()?;
    for _ in 0..count {
        let (b'$', length @ 0..) = cursor.header()? else { return Err(Not::Resp) };
        cursor.skip(length)?;
    }
    Ok(cursor.at)
}

fn reply_end(bytes: &[u8]) -> Result<usize, Not> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut values = 1;
    while values > 0 {
        values -= 1;
        match cursor.bytes.get(cursor.at) {
            Some(b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(') => drop(cursor.line()?),
            Some(b'$' | b'!' | b'=') => {
                if let (_, length @ 0..) = cursor.header()? {
                    cursor.skip(length)?;
                }
            }
            Some(b'*' | b'~' | b'>') => values += cursor.header()?.1.max(0),
            Some(b'%') => values += 2 * cursor.header()?.1.max(0),
            // Attributes come before a value and do not stand for one.
            Some(b'|') => values += 2 * cursor.header()?.1.max(0) + 1,
            Some(_) => return Err(Not::Resp),
            None => return Err(Not::Yet),
        }
    }
    Ok(cursor.at)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The rest of the line without its end.
    fn line(&mut self) -> Result<&'a [u8], Not> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Not::Yet)?;
        self.at += end + 1;
        Ok(rest[..end].trim_ascii_end())
    }

    /// A line of a type and a number, where -1 stands for nothing.
    fn header(&mut self) -> Result<(u8, i64), Not> {
        let line = self.line()?;
        let (kind, number) = line.split_first().ok_or(Not::Resp)?;
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        // No server takes more in one frame, and sums of such numbers stay numbers.
        let number = number.filter(|number| (-1..=1 << 30).contains(number)).ok_or(Not::Resp)?;
        Ok((*kind, number))
    }

    /// The bytes of a bulk string and the end of their line.
    fn skip(&mut self, length: i64) -> Result<&'a [u8], Not> {
        let length = usize::try_from(length).map_err(|_| Not::Resp)?;
        let content = self.bytes.get(self.at..self.at + length + 2).ok_or(Not::Yet)?;
        self.at += length + 2;
        Ok(&content[..length])
    }

    fn bulk(&mut self) -> Option<&'a [u8]> {
        match self.header() {
            Ok((b'$', length)) => self.skip(length).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both ways of cutting a stream give: all at once, and byte after byte.
    fn taken(stream: &[u8], take: fn(&mut Vec<u8>) -> Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut at_once = stream.to_vec();
        let frames = take(&mut at_once);
        let (mut slowly, mut one_by_one) = (Vec::new(), Vec::new());
        for byte in stream {
            slowly.push(*byte);
            one_by_one.extend(take(&mut slowly));
        }
        assert_eq!((&one_by_one, &slowly), (&frames, &at_once), "in {:?}", String::from_utf8_lossy(stream));
        (frames, at_once)
    }

    #[test]
    fn requests_end_where_their_arrays_and_lines_end() {
        let first = b"*2\r\n$3\r\nGET\r\n$4\r\n\r\n*1\r\n".to_vec();
        let stream = [&first[..], b"PING\r\n", b"*0\r\n", b"*1\r\n$4\r\nPI"].concat();
        let (frames, rest) = taken(&stream, requests);
        assert_eq!(frames, [first, b"PING\r\n".to_vec(), b"*0\r\n".to_vec()]);
        assert_eq!(rest, b"*1\r\n$4\r\nPI");
    }

    #[test]
    fn replies_of_every_type_end_where_they_end() {
        let whole: [&[u8]; 17] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":-1\r\n",
            b"$-1\r\n",
            b"$6\r\n\r\n+a\r\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*2\r\n:1\r\n$1\r\na\r\n+b\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
            b"~1\r\n+a\r\n",
            b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
            b"|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b"(12345678901234567890\r\n",
            b"=5\r\ntxt:a\r\n",
        ];
        let (frames, rest) = taken(&whole.concat(), replies);
        assert_eq!(frames, whole);
        assert!(rest.is_empty());
        let (frames, rest) = taken(b"*2\r\n:1\r\n", replies);
        assert_eq!((frames.len(), rest.len()), (0, 8), "an array without its second element is not whole");
    }

    #[test]
    fn what_is_not_resp_goes_on_as_it_is() {
        assert_eq!(requests(&mut b"*1\r\n+PING\r\n".to_vec()), [b"*1\r\n+PING\r\n"]);
        assert_eq!(replies(&mut b"+OK\r\n<html>".to_vec()), [&b"+OK\r\n"[..], b"<html>"]);
        assert_eq!(replies(&mut b"*99999999999999999999\r\n".to_vec()).len(), 1);
    }

    #[test]
    fn words_and_kinds_are_read_out_of_frames() {
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n"), [&b"GET"[..], b"a b"]);
        assert_eq!(words(b"get  a\r\n"), [&b"get"[..], b"a"]);
        assert_eq!(kind(b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n"), Some(&b"message"[..]));
        assert_eq!(kind(b"*1\r\n:1\r\n"), None);
        assert_eq!(kind(b"+message\r\n"), None);
        assert!(is_push(b">1\r\n+a\r\n") && !is_push(b"*1\r\n+a\r\n"));
    }
}
