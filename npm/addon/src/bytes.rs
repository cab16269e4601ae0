//! Strings and bytes across the border, with as few copies as it allows.
//!
//! A value in the store begins with a tag that says how to read it. JSON text crosses as a JavaScript string without
//! its tag, plain text with it; everything else as a Buffer with it, for the SDK to read.

use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, ToNapiValue, TypeName, ValidateNapiValue};
use napi::{Status, ValueType, sys};

/// The tag of JSON text in UTF-8.
pub const JSON: u8 = 1;
/// The tag of plain text in UTF-8.
const TEXT: u8 = 4;

/// Most keys fit here and cost no allocation.
const INLINE: usize = 256;

/// A string or a Uint8Array given by JavaScript. Before its first byte there is room for a tag, so that a value costs
/// no second copy.
pub struct Bytes {
    inline: [u8; INLINE + 1],
    length: usize,
    heap: Vec<u8>,
    text: bool,
}

impl Bytes {
    pub fn as_slice(&self) -> &[u8] {
        &self.with_tag()[1..]
    }

    fn with_tag(&self) -> &[u8] {
        if self.heap.is_empty() { &self.inline[..=self.length] } else { &self.heap }
    }

    /// As a stored value: JSON text gets its tag, bytes have theirs.
    pub fn tagged(&self) -> &[u8] {
        if self.text { self.with_tag() } else { self.as_slice() }
    }

    /// A string as a stored value that is not to be read as JSON.
    pub fn into_plain_text(mut self) -> Self {
        if self.heap.is_empty() {
            self.inline[0] = TEXT;
        } else {
            self.heap[0] = TEXT;
        }
        self
    }

    fn empty(text: bool) -> Self {
        let mut this = Self { inline: [0; INLINE + 1], length: 0, heap: Vec::new(), text };
        this.inline[0] = JSON;
        this
    }

    fn of_slice(bytes: &[u8]) -> Self {
        let mut this = Self::empty(false);
        if bytes.len() <= INLINE {
            this.inline[1..=bytes.len()].copy_from_slice(bytes);
            this.length = bytes.len();
        } else {
            this.heap = Vec::with_capacity(bytes.len() + 1);
            this.heap.push(JSON);
            this.heap.extend_from_slice(bytes);
        }
        this
    }
}

fn check(status: sys::napi_status, what: &str) -> napi::Result<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(napi::Error::new(Status::from(status), what)) }
}

impl FromNapiValue for Bytes {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let mut this = Self::empty(true);
        let start = this.inline[1..].as_mut_ptr().cast();
        // SAFETY: napi-rs hands a valid env and value; the buffer is as long as is said.
        let status =
            unsafe { sys::napi_get_value_string_utf8(env, value, start, INLINE, &raw mut this.length) };
        if status == sys::Status::napi_string_expected {
            // SAFETY: as above.
            return unsafe { from_array(env, value) };
        }
        check(status, "a string is expected")?;
        // It was cut only if it may have filled the buffer (the call keeps a byte for a zero, and whole characters).
        if this.length >= INLINE - 4 {
            let mut length = 0;
            // SAFETY: as above; a null buffer asks for the length.
            let status =
                unsafe { sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &raw mut length) };
            check(status, "a string is expected")?;
            let mut heap = vec![0; length + 2];
            heap[0] = JSON;
            let start = heap[1..].as_mut_ptr().cast();
            // SAFETY: as above.
            let status =
                unsafe { sys::napi_get_value_string_utf8(env, value, start, length + 1, &raw mut length) };
            check(status, "a string is expected")?;
            heap.truncate(length + 1);
            this.heap = heap;
        }
        Ok(this)
    }
}

unsafe fn from_array(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Bytes> {
    let expected = || napi::Error::new(Status::InvalidArg, "a string or a Uint8Array is expected");
    let mut is = false;
    // SAFETY: the callers' env and value are valid.
    check(unsafe { sys::napi_is_typedarray(env, value, &raw mut is) }, "a typed array")?;
    if !is {
        return Err(expected());
    }
    let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
    // SAFETY: it is a typed array; the out-pointers are ours or null.
    let status = unsafe {
        sys::napi_get_typedarray_info(
            env,
            value,
            &raw mut kind,
            &raw mut length,
            &raw mut data,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    check(status, "a typed array")?;
    if kind != sys::TypedarrayType::uint8_array {
        return Err(expected());
    }
    if length == 0 || data.is_null() {
        return Ok(Bytes::of_slice(&[]));
    }
    // SAFETY: Node keeps the array alive and in place during this call, and no JavaScript runs meanwhile.
    Ok(Bytes::of_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }))
}

impl TypeName for Bytes {
    fn type_name() -> &'static str {
        "string | Uint8Array"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl ValidateNapiValue for Bytes {}

/// A stored value on its way to JavaScript, made while it is still in the map: one copy.
pub struct Handle(sys::napi_value);

impl Handle {
    /// A value that was made by a call of this environment.
    pub fn raw(value: sys::napi_value) -> Self {
        Self(value)
    }

    pub fn into_raw(self) -> sys::napi_value {
        self.0
    }

    /// A JavaScript value of a stored one: JSON text without its tag, plain text with it (one byte, which no JSON begins
    /// with), anything else as a Buffer with it.
    pub fn value(env: napi::Env, stored: &[u8]) -> napi::Result<Self> {
        match stored.split_first() {
            Some((&JSON, text)) => Self::text(env, text),
            Some((&TEXT, text)) if std::str::from_utf8(text).is_ok() => Self::text(env, stored),
            _ => Self::buffer(env, stored),
        }
    }

    pub fn text(env: napi::Env, text: &[u8]) -> napi::Result<Self> {
        let mut result = ptr::null_mut();
        let (start, length) = (text.as_ptr().cast(), text.len().cast_signed());
        // SAFETY: the env is the current call's; the text outlives the call, which copies it.
        let status = unsafe {
            if text.is_ascii() {
                sys::napi_create_string_latin1(env.raw(), start, length, &raw mut result)
            } else {
                sys::napi_create_string_utf8(env.raw(), start, length, &raw mut result)
            }
        };
        check(status, "cannot make a string")?;
        Ok(Self(result))
    }

    pub fn buffer(env: napi::Env, bytes: &[u8]) -> napi::Result<Self> {
        let mut result = ptr::null_mut();
        // SAFETY: the env is the current call's; the bytes outlive the call, which copies them.
        let status = unsafe {
            sys::napi_create_buffer_copy(
                env.raw(),
                bytes.len(),
                bytes.as_ptr().cast(),
                ptr::null_mut(),
                &raw mut result,
            )
        };
        check(status, "cannot make a Buffer")?;
        Ok(Self(result))
    }

    /// Text if it is UTF-8, else a Buffer: for keys, which may be any bytes.
    pub fn key(env: napi::Env, bytes: &[u8]) -> napi::Result<Self> {
        if std::str::from_utf8(bytes).is_ok() { Self::text(env, bytes) } else { Self::buffer(env, bytes) }
    }
}

impl ToNapiValue for Handle {
    unsafe fn to_napi_value(_: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        Ok(value.0)
    }
}

impl TypeName for Handle {
    fn type_name() -> &'static str {
        "string | Buffer"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}
