//! `advanced` serialization: just enough of V8's format to speak the protocol.
//!
//! A primary chooses the serialization and ours chooses JSON; this is for apps whose owner insists on messages with
//! Buffers or Maps. Incoming values become the JSON text nearest to what `JSON.stringify` would give, so that everything
//! behind is the same; outgoing JSON becomes V8 values. The format is V8's `src/objects/value-serializer.cc`
//! (version 13, which every Node from 18 reads) and Node's `lib/internal/child_process/serialization.js`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::frame::LINE_BYTES_MAX;

/// As serde_json's own limit on nesting, which the text meets next.
const DEPTH_MAX: u32 = 120;
/// JavaScript's `Number.MAX_SAFE_INTEGER`.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;
/// Holes of arrays that are written out as `null`: beyond, a few bytes would become gigabytes of text.
const HOLES_MAX: u32 = 65_536;
/// The version that we write: older than any Node in use, and accepted by all.
const VERSION: u8 = 13;

/// A line of JSON (newline included) as a length-prefixed V8 message.
pub(crate) fn encode(line: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(line).expect("only lines that we built as JSON are encoded");
    let mut out = vec![0, 0, 0, 0, 0xff, VERSION];
    write_value(&mut out, &value);
    let length = u32::try_from(out.len() - 4).expect("outgoing lines are bounded far below 4 GB");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(b'0'),
        Value::Bool(true) => out.push(b'T'),
        Value::Bool(false) => out.push(b'F'),
        Value::Number(number) => {
            // Integers beyond 32 bits are doubles in JavaScript anyway.
            let small = number.as_i64().and_then(|number| i32::try_from(number).ok());
            if let Some(small) = small {
                out.push(b'I');
                write_varint(out, ((small << 1) ^ (small >> 31)).cast_unsigned());
            } else {
                out.push(b'N');
                out.extend_from_slice(&number.as_f64().unwrap_or(f64::NAN).to_le_bytes());
            }
        }
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let length = u32::try_from(items.len()).expect("bounded by the line");
            out.push(b'A');
            write_varint(out, length);
            for item in items {
                write_value(out, item);
            }
            out.push(b'$');
            write_varint(out, 0);
            write_varint(out, length);
        }
        Value::Object(fields) => {
            out.push(b'o');
            for (name, value) in fields {
                write_string(out, name);
                write_value(out, value);
            }
            out.push(b'{');
            write_varint(out, u32::try_from(fields.len()).expect("bounded by the line"));
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'S');
    write_varint(out, u32::try_from(text.len()).expect("bounded by the line"));
    out.extend_from_slice(text.as_bytes());
}

fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The JSON text of a V8 message; the error says what has no JSON.
pub(crate) fn decode(payload: &[u8]) -> Result<String, String> {
    let mut reader =
        Reader { bytes: payload, text: String::with_capacity(payload.len()), objects: Vec::new() };
    while reader.bytes.first() == Some(&0xff) {
        reader.bytes = &reader.bytes[1..];
        reader.varint()?;
    }
    reader.value(0)?;
    Ok(reader.text)
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: String,
    /// Where the text of each object is, in the order of V8's object ids; no end while it is being read.
    objects: Vec<(usize, Option<usize>)>,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.bytes.split_first().ok_or("the message is cut short")?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next tag that is not padding.
    fn tag(&mut self) -> Result<u8, String> {
        loop {
            match self.byte()? {
                0 => {}
                // "Verify object count": a number that only V8's own tests use.
                b'?' => drop(self.varint()?),
                tag => return Ok(tag),
            }
        }
    }

    fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 32 bits".to_owned())
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], String> {
        let (taken, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.split_at_checked(length))
            .ok_or("the message is cut short")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn double(&mut self) -> Result<f64, String> {
        Ok(f64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    fn string(&mut self, tag: u8) -> Result<String, String> {
        let length = self.varint()?;
        let bytes = self.take(length)?;
        Ok(match tag {
            b'"' => bytes.iter().copied().map(char::from).collect(),
            b'c' => {
                let units = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            _ => String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    fn push_string(&mut self, text: &str) {
        self.text.push_str(&serde_json::to_string(text).expect("text is JSON"));
    }

    /// As JSON.stringify writes it: whole numbers without a fraction (sequence numbers beyond 32 bits travel as doubles),
    /// NaN and the infinities as null.
    fn push_number(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() <= SAFE_INTEGER_MAX {
            write!(self.text, "{number:.0}").expect("a String takes everything");
        } else if let Some(number) = serde_json::Number::from_f64(number) {
            write!(self.text, "{number}").expect("a String takes everything");
        } else {
            self.text.push_str("null");
        }
    }

    fn value(&mut self, depth: u32) -> Result<(), String> {
        let tag = self.tag()?;
        self.tagged(tag, depth)
    }

    fn tagged(&mut self, tag: u8, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX || self.text.len() > LINE_BYTES_MAX {
            return Err("the value is nested too deeply or too large".to_owned());
        }
        match tag {
            b'_' | b'0' | b'-' => self.text.push_str("null"),
            b'T' | b'y' => self.text.push_str("true"),
            b'F' | b'x' => self.text.push_str("false"),
            b'I' => {
                let zigzag = self.varint()?;
                let number = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                write!(self.text, "{number}").expect("a String takes everything");
            }
            b'U' => {
                let number = self.varint()?;
                write!(self.text, "{number}").expect("a String takes everything");
            }
            b'N' => {
                let number = self.double()?;
                self.push_number(number);
            }
            b'"' | b'c' | b'S' => {
                let text = self.string(tag)?;
                self.push_string(&text);
            }
            b'^' => self.reference()?,
            _ => {
                let id = self.objects.len();
                let start = self.text.len();
                self.objects.push((start, None));
                self.object(tag, depth + 1)?;
                self.objects[id].1 = Some(self.text.len());
            }
        }
        Ok(())
    }

    /// An object seen before is written out again, as JSON.stringify does.
    fn reference(&mut self) -> Result<(), String> {
        let id = self.varint()?;
        let known = usize::try_from(id).ok().and_then(|id| self.objects.get(id));
        let Some((start, Some(end))) = known.copied() else { return Err("a cyclic value".to_owned()) };
        if self.text.len() + (end - start) > LINE_BYTES_MAX {
            return Err("the value is too large".to_owned());
        }
        self.text.extend_from_within(start..end);
        Ok(())
    }

    fn object(&mut self, tag: u8, depth: u32) -> Result<(), String> {
        match tag {
            b'o' => self.fields(b'{', depth),
            b'a' => self.sparse_array(depth),
            b'A' => self.dense_array(depth),
            // A Date, as milliseconds since 1970.
            b'D' | b'n' => {
                let number = self.double()?;
                self.push_number(number);
                Ok(())
            }
            b's' => {
                let tag = self.tag()?;
                let text = self.string(tag)?;
                self.push_string(&text);
                Ok(())
            }
            // A Map as pairs, a Set as its members: JSON.stringify would lose them.
            b';' => self.members(b':', 2, depth),
            b'\'' => self.members(b',', 1, depth),
            b'\\' => self.host_object(depth),
            other => Err(format!("a value of V8's kind {:?}, which has no JSON", char::from(other))),
        }
    }

    fn fields(&mut self, end: u8, depth: u32) -> Result<(), String> {
        self.text.push('{');
        let mut first = true;
        loop {
            let tag = self.tag()?;
            if tag == end {
                self.varint()?;
                self.text.push('}');
                return Ok(());
            }
            let before = self.text.len();
            if !first {
                self.text.push(',');
            }
            let name = self.name(tag)?;
            self.push_string(&name);
            self.text.push(':');
            match self.tag()? {
                // JSON.stringify leaves undefined properties out.
                b'_' => self.text.truncate(before),
                tag => {
                    self.tagged(tag, depth)?;
                    first = false;
                }
            }
        }
    }

    fn name(&mut self, tag: u8) -> Result<String, String> {
        match tag {
            b'"' | b'c' | b'S' => self.string(tag),
            b'I' => Ok((self.varint()? >> 1).to_string()),
            b'U' => Ok(self.varint()?.to_string()),
            b'N' => Ok(self.double()?.to_string()),
            other => Err(format!("a property name of V8's kind {:?}", char::from(other))),
        }
    }

    /// Any array that may have holes, such as every array that was itself received: elements with their indexes.
    fn sparse_array(&mut self, depth: u32) -> Result<(), String> {
        let length = self.varint()?;
        self.text.push('[');
        let (mut next, mut holes) = (0u32, HOLES_MAX);
        loop {
            let tag = self.tag()?;
            let last = tag == b'@';
            let index = if last { Some(length) } else { self.name(tag)?.parse().ok() };
            if let Some(index) = index {
                let gap = index.checked_sub(next).ok_or("an array with elements out of order")?;
                holes = holes.checked_sub(gap).ok_or("an array with too many holes")?;
                for at in next..index {
                    self.text.push_str(if at > 0 { ",null" } else { "null" });
                }
                next = index;
            }
            if last {
                self.text.push(']');
                self.varint()?;
                return self.varint().map(drop);
            }
            let before = self.text.len();
            if next > 0 {
                self.text.push(',');
            }
            self.value(depth)?;
            match index {
                Some(_) => next = next.checked_add(1).ok_or("an array of too many elements")?,
                // A property beside the elements has no JSON.
                None => self.text.truncate(before),
            }
        }
    }

    fn dense_array(&mut self, depth: u32) -> Result<(), String> {
        let length = self.varint()?;
        self.text.push('[');
        for at in 0..length {
            if at > 0 {
                self.text.push(',');
            }
            self.value(depth)?;
        }
        self.text.push(']');
        // Further properties of the array have no JSON; they are read and forgotten.
        let end = self.text.len();
        self.fields(b'$', depth)?;
        self.text.truncate(end);
        self.varint().map(drop)
    }

    fn members(&mut self, end: u8, group: u32, depth: u32) -> Result<(), String> {
        self.text.push('[');
        let mut count = 0u32;
        loop {
            let tag = self.tag()?;
            if tag == end {
                self.varint()?;
                self.text.push(']');
                return Ok(());
            }
            if count > 0 {
                self.text.push(',');
            }
            if group == 2 {
                self.text.push('[');
            }
            self.tagged(tag, depth)?;
            if group == 2 {
                self.text.push(',');
                self.value(depth)?;
                self.text.push(']');
            }
            count += 1;
        }
    }

    /// Node's own: a Buffer or typed array as `Buffer.prototype.toJSON` gives it, or a native object's properties.
    fn host_object(&mut self, depth: u32) -> Result<(), String> {
        if self.varint()? != 0 {
            return self.value(depth);
        }
        self.varint()?;
        let length = self.varint()?;
        let bytes = self.take(length)?;
        self.text.push_str("{\"type\":\"Buffer\",\"data\":[");
        for (at, byte) in bytes.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(self.text, "{comma}{byte}").expect("a String takes everything");
        }
        self.text.push_str("]}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_node_serialized_reads_as_json() {
        // v8.serialize({a:[1,-2,3.5,"ü","zwei",'→',null,true,undefined],5:{}}) of Node 22.
        let node = b"\xff\x0fo\x49\x0ao{\x00\"\x01aA\x09I\x02I\x03N\x00\x00\x00\x00\x00\x00\x0c@\"\x01\xfc\"\x04zwei\x00c\x02\x92\x210T_$\x00\x09{\x02";
        assert_eq!(
            decode(node).as_deref(),
            Ok("{\"5\":{},\"a\":[1,-2,3.5,\"\u{fc}\",\"zwei\",\"\u{2192}\",null,true,null]}")
        );
    }

    #[test]
    fn arrays_with_holes_and_undefined_properties_are_as_in_json_stringify() {
        // v8.serialize([1,,'x']) and v8.serialize({a: undefined, b: 1}) of Node 22.
        assert_eq!(decode(b"\xff\x0fa\x03I\x00I\x02I\x04\"\x01x@\x02\x03").as_deref(), Ok("[1,null,\"x\"]"));
        assert_eq!(decode(b"\xff\x0fo\"\x01a_\"\x01bI\x02{\x02").as_deref(), Ok("{\"b\":1}"));
        assert!(
            decode(b"\xff\x0fa\xff\xff\xff\xff\x0f@\x00\xff\xff\xff\xff\x0f").is_err(),
            "four billion holes"
        );
    }

    #[test]
    fn repeated_objects_are_written_out_and_cycles_refused() {
        let twice = b"\xff\x0fA\x02o{\x00^\x01$\x00\x02";
        assert_eq!(decode(twice).as_deref(), Ok("[{},{}]"));
        assert_eq!(decode(b"\xff\x0fo\"\x01a^\x00{\x01"), Err("a cyclic value".to_owned()));
        // A small message must not become a large one without bound.
        let mut bomb = b"\xff\x0f".to_vec();
        bomb.extend_from_slice(b"A\x02");
        assert!(decode(&bomb).is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e12..1e12f64).prop_filter("a fraction", |number| number.fract() != 0.0).prop_map(Value::from),
            (0..1u64 << 53).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(value in json()) {
            let message = encode(value.to_string().as_bytes());
            let length = u32::from_be_bytes(message[..4].try_into().expect("four bytes"));
            prop_assert_eq!(length as usize, message.len() - 4);
            let back: Value = serde_json::from_str(&decode(&message[4..]).expect("we wrote it")).expect("JSON");
            prop_assert_eq!(back, value);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0..3usize) {
            let starts: [&[u8]; 3] = [b"", b"\xff\x0fo", b"\xff\x0fA\x05"];
            bytes.splice(0..0, starts[start].iter().copied());
            if let Ok(text) = decode(&bytes) {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
            }
        }
    }
}
