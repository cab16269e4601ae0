//! V8 values as JSON text.

use std::fmt::Write as _;

use crate::frame::LINE_BYTES_MAX;

/// As serde_json's own limit on nesting, which the text meets next.
const DEPTH_MAX: u32 = 120;
/// JavaScript's `Number.MAX_SAFE_INTEGER`.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;
/// Holes of arrays that are written out as `null`: beyond, a few bytes would become gigabytes of text.
const HOLES_MAX: u32 = 65_536;

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
