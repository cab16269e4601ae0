//! Numbers as Redis reads and writes them.

/// A whole number: no spaces, no plus sign, no leading zeros (`string2ll` of Redis).
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, bytes),
    };
    if digits == b"0" {
        return (!negative).then_some(0);
    }
    if digits.is_empty() || digits[0] == b'0' || digits.len() > 19 {
        return None;
    }
    let mut number: i128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i128::from(digit - b'0');
    }
    i64::try_from(if negative { -number } else { number }).ok()
}

/// Appends a number's digits.
pub(crate) fn push_integer(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

/// A score or an increment: what `strtod` reads, without spaces around, and no NaN.
pub(crate) fn float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lower = text.trim_start_matches(['+', '-']);
    if lower.len() >= 2 && lower[..2].eq_ignore_ascii_case("0x") {
        return hexadecimal(text);
    }
    let number: f64 = text.parse().ok()?;
    // Rust reads 1e999 as infinite, as strtod does; Redis takes that for an error unless infinity was written.
    let written = lower.len() >= 3 && lower[..3].eq_ignore_ascii_case("inf");
    (!number.is_nan() && (number.is_finite() || written)).then_some(number)
}

fn hexadecimal(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = u64::from_str_radix(&digits[2..], 16).ok()?;
    Some(sign * number as f64)
}

/// A double in the fewest digits that mean it (Redis 7.2; 7.0 writes 17).
pub(crate) fn double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == number.trunc() && number.abs() < 1e17 {
        return if number == 0.0 && number.is_sign_negative() { "-0".into() } else { format!("{number:.0}") };
    }
    let magnitude = number.abs();
    if (1e-5..1e17).contains(&magnitude) {
        return format!("{number}");
    }
    // As C prints exponents: a sign and at least two digits.
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Digits behind the point that Redis keeps of a sum (`ld2string` in its human form).
const DECIMALS: usize = 17;

/// The sum of two decimal numbers, exact as far as it fits, in Redis's form for INCRBYFLOAT; `None`: not finite.
pub(crate) fn decimal_sum(a: &[u8], b: &[u8]) -> Option<String> {
    if let (Some(a), Some(b)) = (decimal(a), decimal(b))
        && let Some(sum) = a.checked_add(b)
    {
        return Some(decimal_text(sum));
    }
    let sum = float(a)? + float(b)?;
    sum.is_finite().then(|| {
        let text = format!("{sum:.17}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.to_owned()
    })
}

/// A number in units of 10^-17, if it is exactly one.
fn decimal(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || all.len() > 36 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all.parse().ok()?;
    let shift = DECIMALS as i32 - i32::try_from(part.len()).ok()? + exponent;
    let value = if shift >= 0 {
        value.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?)?
    } else {
        return None;
    };
    Some(if negative { -value } else { value })
}

fn decimal_text(value: i128) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = DECIMALS + 1);
    let (whole, part) = digits.split_at(digits.len() - DECIMALS);
    let part = part.trim_end_matches('0');
    let sign = if value < 0 { "-" } else { "" };
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_redis_reads_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
        ] {
            assert_eq!(integer(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_redis_writes_them() {
        let mut out = Vec::new();
        for number in [0, -1, i64::MAX, i64::MIN] {
            out.clear();
            push_integer(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
        for (number, text) in [
            (3.0, "3"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e17, "1e+17"),
            (1e-7, "1e-07"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(double(number), text);
        }
    }

    #[test]
    fn decimal_sums_are_exact() {
        let sum = |a: &str, b: &str| decimal_sum(a.as_bytes(), b.as_bytes());
        assert_eq!(sum("0.1", "0.2").as_deref(), Some("0.3"));
        assert_eq!(sum("10.50", "0.1").as_deref(), Some("10.6"));
        assert_eq!(sum("5.0e3", "2.0e2").as_deref(), Some("5200"));
        assert_eq!(sum("1", "-1.5").as_deref(), Some("-0.5"));
        assert_eq!(sum("1e30", "1").as_deref(), Some("1000000000000000019884624838656"));
    }
}
