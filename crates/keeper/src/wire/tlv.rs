//! Fields: a tag (u16), a length (u32) and that many bytes, all little-endian. A reader skips tags that it does
//! not know, so an older keeper understands a newer daemon as far as it can, and the other way round.

use super::Malformed;

/// Bytes before a field's value.
const FIELD_HEADER_BYTES: usize = 6;

/// Builds a sequence of fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn bytes(&mut self, tag: u16, value: &[u8]) -> &mut Self {
        let length = u32::try_from(value.len()).expect("payloads are bounded far below 4 GiB");
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn u64(&mut self, tag: u16, value: u64) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    pub(crate) fn i32(&mut self, tag: u16, value: i32) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, tag: u16, value: u32) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    pub(crate) fn u8(&mut self, tag: u16, value: u8) -> &mut Self {
        self.bytes(tag, &[value])
    }

    pub(crate) fn flag(&mut self, tag: u16, value: bool) -> &mut Self {
        self.u8(tag, u8::from(value))
    }

    pub(crate) fn nested(&mut self, tag: u16, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(tag, &inner.0)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// One field, not yet interpreted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) tag: u16,
    pub(crate) value: &'a [u8],
}

/// Walks over the fields of a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Fields(payload)
    }

    /// The next field, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let header: &[u8; FIELD_HEADER_BYTES] = self.0.first_chunk().ok_or(Malformed::CutOff)?;
        let tag = u16::from_le_bytes([header[0], header[1]]);
        let length = u32::from_le_bytes([header[2], header[3], header[4], header[5]]);
        let rest = &self.0[FIELD_HEADER_BYTES..];
        let length = usize::try_from(length).map_err(|_| Malformed::CutOff)?;
        let value = rest.get(..length).ok_or(Malformed::CutOff)?;
        self.0 = &rest[length..];
        Ok(Some(Field { tag, value }))
    }
}

impl<'a> Field<'a> {
    pub(crate) fn u64(self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.exactly()?))
    }

    pub(crate) fn i32(self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.exactly()?))
    }

    pub(crate) fn u32(self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.exactly()?))
    }

    pub(crate) fn u8(self) -> Result<u8, Malformed> {
        Ok(self.exactly::<1>()?[0])
    }

    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad()),
        }
    }

    pub(crate) fn owned(self) -> Vec<u8> {
        self.value.to_vec()
    }

    pub(crate) fn fields(self) -> Fields<'a> {
        Fields::new(self.value)
    }

    pub(crate) fn bad(self) -> Malformed {
        Malformed::BadValue { tag: self.tag }
    }

    fn exactly<const N: usize>(self) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| self.bad())
    }
}
