//! `advanced` serialization: just enough of V8's format to speak the protocol.
//!
//! A primary chooses the serialization and ours chooses JSON; this is for apps whose owner insists on messages with
//! Buffers or Maps. Incoming values become the JSON text nearest to what `JSON.stringify` would give, so that everything
//! behind is the same; outgoing JSON becomes V8 values. The format is V8's `src/objects/value-serializer.cc`
//! (version 13, which every Node from 18 reads) and Node's `lib/internal/child_process/serialization.js`.

mod read;

use serde_json::Value;

pub(crate) use self::read::decode;

/// The version that we write: older than any Node in use, and accepted by all.
const VERSION: u8 = 13;

/// True if [`encode`] can take this JSON text: not nested beyond serde_json's limit, and of whole characters.
pub(crate) fn can_encode(json: &str) -> bool {
    serde_json::from_str::<Value>(json).is_ok()
}

/// A line of JSON (newline included) as a length-prefixed V8 message. What [`can_encode`] denies becomes `null`, which
/// no worker takes for a message of the protocol.
pub(crate) fn encode(line: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(line).unwrap_or(Value::Null);
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
