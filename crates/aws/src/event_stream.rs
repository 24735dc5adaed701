//! Event streams: the messages in which AWS's services send one thing after another in an answer's body
//! (<https://smithy.io/2.0/aws/amazon-eventstream.html>).
//!
//! A message is, all numbers big-endian: its whole length (4 bytes), the length of its headers (4), the CRC-32 of these eight bytes (4), the headers, the payload, and the
//! CRC-32 of everything before (4). A header is the length of its name (1), the name, its type (1), and for a text its length (2) and the text.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The media type of a body of such messages.
pub const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";
/// A header that is a text.
const TEXT: u8 = 7;
/// What is around headers and payload, in bytes.
const FRAME_BYTES: usize = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// An event of the operation's, by its name in the operation's model. Streams of the JSON protocols begin with one that is called `initial-response`.
    Event(&'a str),
    /// An error that ends the stream, by its name in the model.
    Exception(&'a str),
}

/// Writes a message with a payload that is a JSON document.
///
/// # Panics
/// When the payload has more than 4 GB, or the name more than 64 KB.
#[must_use]
pub fn message(message: Message<'_>, payload: &[u8]) -> Bytes {
    let (kind, name_header, name) = match message {
        Message::Event(name) => ("event", ":event-type", name),
        Message::Exception(name) => ("exception", ":exception-type", name),
    };
    let mut headers = BytesMut::new();
    for (header, value) in [(":message-type", kind), (name_header, name), (":content-type", "application/json")] {
        headers.put_u8(u8::try_from(header.len()).expect("the names above are short"));
        headers.put_slice(header.as_bytes());
        headers.put_u8(TEXT);
        headers.put_u16(u16::try_from(value.len()).expect("a name in a model is short"));
        headers.put_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).expect("a message is shorter than 4 GB");
    let mut written = BytesMut::with_capacity(FRAME_BYTES + headers.len() + payload.len());
    written.put_u32(length(FRAME_BYTES + headers.len() + payload.len()));
    written.put_u32(length(headers.len()));
    written.put_u32(crc32fast::hash(&written));
    written.put_slice(&headers);
    written.put_slice(payload);
    written.put_u32(crc32fast::hash(&written));
    written.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte as the specification's grammar has it.
    #[test]
    fn a_message_is_framed_as_the_specification_says() {
        let written = message(Message::Event("x"), b"{}");
        let headers: &[u8] = b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x01x\x0d:content-type\x07\x00\x10application/json";
        let number = |at: usize| u32::from_be_bytes(written[at..at + 4].try_into().unwrap());
        assert_eq!((number(0) as usize, number(4) as usize), (written.len(), headers.len()));
        assert_eq!(&written[12..12 + headers.len()], headers);
        assert_eq!(&written[12 + headers.len()..written.len() - 4], b"{}");
        // The checksums are those of zlib and Ethernet: of "123456789" it is cbf43926.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(number(8), crc32fast::hash(&written[..8]));
        assert_eq!(number(written.len() - 4), crc32fast::hash(&written[..written.len() - 4]));
        let failed = message(Message::Exception("Late"), b"{}");
        assert!(failed.windows(23).any(|part| part == b"\x0f:exception-type\x07\x00\x04Late"));
    }
}
