//! Documents as CBOR (RFC 8949), within what the protocol Smithy RPC v2 CBOR says of it (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>):
//! texts for names, a moment as tag 1 around its seconds. What SDKs write, in lengths told or untold, is read; tags other than a moment's are passed over.

use std::convert::Infallible;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

use super::{DEPTH_MAX, Document, DocumentError, milliseconds};

/// Seconds since 1970 (RFC 8949, section 3.4.2).
const EPOCH_TAG: u64 = 1;

/// Reads a document. An empty body stands for one without members.
///
/// # Errors
/// What is not CBOR, or nested too deep, or followed by something else.
pub fn from_cbor(bytes: &[u8]) -> Result<Document, DocumentError> {
    if bytes.is_empty() {
        return Ok(Document::Members(Vec::new()));
    }
    let mut decoder = Decoder::new(bytes);
    let document = read(&mut decoder, DEPTH_MAX)?;
    if decoder.position() < bytes.len() {
        return Err(DocumentError("the body goes on after its document".to_owned()));
    }
    Ok(document)
}

fn fail(error: minicbor::decode::Error) -> DocumentError {
    DocumentError(format!("the body is not CBOR: {error}"))
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Document, DocumentError> {
    let depth = depth.checked_sub(1).ok_or_else(|| DocumentError("the body is nested too deep".to_owned()))?;
    match decoder.datatype().map_err(fail)? {
        Type::Bool => decoder.bool().map(Document::Bool).map_err(fail),
        Type::Null | Type::Undefined => decoder.skip().map(|()| Document::Null).map_err(fail),
        Type::F16 => decoder.f16().map(|number| Document::Number(number.into())).map_err(fail),
        Type::F32 => decoder.f32().map(|number| Document::Number(number.into())).map_err(fail),
        Type::F64 => decoder.f64().map(Document::Number).map_err(fail),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            let integer = i64::try_from(decoder.int().map_err(fail)?);
            integer.map(Document::Integer).map_err(|_| DocumentError("a number is too large".to_owned()))
        }
        Type::String | Type::StringIndef => text(decoder).map(Document::Text),
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array().map_err(fail)?;
            let mut items = Vec::new();
            // A length is only believed as far as there are bytes for it.
            while !is_over(decoder, length, items.len())? {
                items.push(read(decoder, depth)?);
            }
            Ok(Document::List(items))
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map().map_err(fail)?;
            let mut members = Vec::new();
            while !is_over(decoder, length, members.len())? {
                members.push((text(decoder)?, read(decoder, depth)?));
            }
            Ok(Document::Members(members))
        }
        Type::Tag => {
            let tag = decoder.tag().map_err(fail)?;
            let tagged = read(decoder, depth)?;
            if tag != Tag::new(EPOCH_TAG) {
                return Ok(tagged);
            }
            let moment = tagged.as_number().and_then(milliseconds);
            moment.map(Document::Moment).ok_or_else(|| DocumentError("a moment is no number of seconds".to_owned()))
        }
        other => Err(DocumentError(format!("the body holds a value of the kind {other}, which no member takes"))),
    }
}

/// Whether a list or map of this length (`None` goes on until its end is marked) has been read.
fn is_over(decoder: &mut Decoder<'_>, length: Option<u64>, read: usize) -> Result<bool, DocumentError> {
    match length {
        Some(length) => Ok(read as u64 >= length),
        None if decoder.datatype().map_err(fail)? == Type::Break => decoder.skip().map(|()| true).map_err(fail),
        None => Ok(false),
    }
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, DocumentError> {
    decoder.str_iter().map_err(fail)?.collect::<Result<String, _>>().map_err(fail)
}

/// Writes a document.
#[must_use]
pub fn to_cbor(document: &Document) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder, document).expect("writing to a vector does not fail");
    encoder.into_writer()
}

fn write(encoder: &mut Encoder<Vec<u8>>, document: &Document) -> Result<(), minicbor::encode::Error<Infallible>> {
    match document {
        Document::Null => encoder.null().map(drop),
        Document::Bool(truth) => encoder.bool(*truth).map(drop),
        Document::Integer(integer) => encoder.i64(*integer).map(drop),
        Document::Number(number) => encoder.f64(*number).map(drop),
        Document::Text(text) => encoder.str(text).map(drop),
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some 280,000 years are exact")]
        Document::Moment(ms) => encoder.tag(Tag::new(EPOCH_TAG))?.f64(*ms as f64 / 1000.0).map(drop),
        Document::List(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(encoder, item))
        }
        Document::Members(members) | Document::Map(members) => {
            let there: Vec<_> = members.iter().filter(|(_, value)| *value != Document::Null).collect();
            encoder.map(there.len() as u64)?;
            there.into_iter().try_for_each(|(name, value)| {
                encoder.str(name)?;
                write(encoder, value)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_survives_the_wire() {
        let document = Document::members([
            ("Name", "naïve".into()),
            ("Count", 7_i64.into()),
            ("Value", 2.5.into()),
            ("At", Document::Moment(1_769_850_000_250)),
            ("Is", true.into()),
            ("Items", Document::list([1_i64, -300])),
            ("Nothing", Document::Null),
        ]);
        let Document::Members(members) = &document else { panic!() };
        let expected: Vec<_> = members.iter().filter(|(name, _)| name != "Nothing").cloned().collect();
        assert_eq!(from_cbor(&to_cbor(&document)).unwrap(), Document::Members(expected));
        assert_eq!(from_cbor(b"").unwrap(), Document::Members(Vec::new()));
    }

    /// As RFC 8949 writes them in its examples (appendix A), among them lengths that are not told.
    #[test]
    fn what_others_write_is_read() {
        let check = |hexadecimal: &str, expected: Document| {
            assert_eq!(from_cbor(&hex::decode(hexadecimal).unwrap()).unwrap(), expected, "{hexadecimal}");
        };
        check("c11a514b67b0", Document::Moment(1_363_896_240_000));
        check("c1fb41d452d9ec200000", Document::Moment(1_363_896_240_500));
        check("f93e00", Document::Number(1.5));
        check("7f657374726561646d696e67ff", "streaming".into());
        check("9f018202039f0405ffff", Document::list([Document::Integer(1), Document::list([2_i64, 3]), Document::list([4_i64, 5])]));
        check("bf6346756ef563416d7421ff", Document::Members(vec![("Fun".into(), true.into()), ("Amt".into(), Document::Integer(-2))]));
        check("f6", Document::Null);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = from_cbor(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[0x81; 40], "nested too deep");
        check(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "not CBOR");
        check(&[0xf6, 0xf6], "goes on");
        check(&[0x41, 0x00], "no member takes");
        check(&[0xa1, 0x01, 0x01], "not CBOR");
        check(&[0xc1, 0x61, 0x61], "no number of seconds");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_cbor(&bytes);
        }
    }
}
