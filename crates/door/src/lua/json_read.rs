//! The `cjson` library: decoding, with lua-cjson's messages.

use mlua::{Lua, Value};

const DEPTH_MAX: usize = 1000;

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    depth: usize,
}

pub(crate) fn decode(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    let mut reader = Reader { lua, text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.unexpected("the end"));
    }
    Ok(value)
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    fn unexpected(&self, wanted: &str) -> mlua::Error {
        let found = match self.text.get(self.at) {
            None => "T_END",
            Some(b'{') => "T_OBJ_BEGIN",
            Some(b'}') => "T_OBJ_END",
            Some(b'[') => "T_ARR_BEGIN",
            Some(b']') => "T_ARR_END",
            Some(b'"') => "T_STRING",
            Some(b':') => "T_COLON",
            Some(b',') => "T_COMMA",
            Some(_) => "invalid token",
        };
        mlua::Error::runtime(format!("Expected {wanted} but found {found} at character {}", self.at + 1))
    }

    fn word(&mut self, word: &str, value: Value) -> mlua::Result<Value> {
        if self.text[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.unexpected("value"))
    }

    fn value(&mut self) -> mlua::Result<Value> {
        self.space();
        match self.text.get(self.at) {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => {
                let text = self.string()?;
                Ok(Value::String(self.lua.create_string(text)?))
            }
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::NULL),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("value")),
        }
    }

    fn deeper(&mut self) -> mlua::Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let at = self.at;
            return Err(mlua::Error::runtime(format!(
                "Found too many nested data structures ({DEPTH_MAX}) at character {at}"
            )));
        }
        Ok(())
    }

    fn object(&mut self) -> mlua::Result<Value> {
        self.deeper()?;
        let table = self.lua.create_table()?;
        self.space();
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Value::Table(table));
        }
        loop {
            self.space();
            if self.text.get(self.at) != Some(&b'"') {
                return Err(self.unexpected("object key string"));
            }
            let key = self.string()?;
            self.space();
            if self.text.get(self.at) != Some(&b':') {
                return Err(self.unexpected("colon"));
            }
            self.at += 1;
            let value = self.value()?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(Value::Table(table));
                }
                _ => return Err(self.unexpected("comma or object end")),
            }
        }
    }

    fn array(&mut self) -> mlua::Result<Value> {
        self.deeper()?;
        let table = self.lua.create_table()?;
        self.space();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value()?;
            table.raw_set(index, value)?;
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    self.depth -= 1;
                    break;
                }
                _ => return Err(self.unexpected("comma or array end")),
            }
        }
        Ok(Value::Table(table))
    }

    fn number(&mut self) -> mlua::Result<Value> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
        let number = std::str::from_utf8(&rest[..length]).ok().and_then(|text| text.parse::<f64>().ok());
        let Some(number) = number else { return Err(self.unexpected("value")) };
        self.at += length;
        Ok(Value::Number(number))
    }

    fn string(&mut self) -> mlua::Result<Vec<u8>> {
        let start = self.at;
        self.at += 1;
        let mut out = Vec::new();
        let unfinished = |at: usize| {
            mlua::Error::runtime(format!(
                "Expected value but found unexpected end of string at character {}",
                at + 1
            ))
        };
        loop {
            let byte = *self.text.get(self.at).ok_or_else(|| unfinished(start))?;
            self.at += 1;
            match byte {
                b'"' => return Ok(out),
                b'\\' => self.escape(&mut out)?,
                0..=31 => {
                    self.at -= 1;
                    return Err(self.unexpected("value"));
                }
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> mlua::Result<()> {
        let invalid = |at: usize| {
            mlua::Error::runtime(format!("Expected value but found invalid escape code at character {at}"))
        };
        let byte = *self.text.get(self.at).ok_or_else(|| invalid(self.at))?;
        self.at += 1;
        out.push(match byte {
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'"' | b'\\' | b'/' => byte,
            b'u' => {
                let mut code = self.four().ok_or_else(|| invalid(self.at))?;
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.four().filter(|low| (0xdc00..0xe000).contains(low));
                    code =
                        0x10000 + ((code - 0xd800) << 10) + (low.ok_or_else(|| invalid(self.at))? - 0xdc00);
                }
                let letter = char::from_u32(code).ok_or_else(|| invalid(self.at))?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(invalid(self.at)),
        });
        Ok(())
    }

    fn four(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
