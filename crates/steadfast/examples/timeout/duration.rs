//! How long: a number as strtod(3) reads it in the C locale, and a unit.

use std::time::Duration;

/// The shortest time that a clock can say. What is more than nothing is at least this: nothing would be for ever.
const SHORTEST: Duration = Duration::from_nanos(1);

/// `None` if it is no number, less than nothing, or has something else than one unit behind it.
pub(crate) fn parse(text: &[u8]) -> Option<Duration> {
    // No number has a character that is more than a byte.
    let text = std::str::from_utf8(text).ok()?.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, rest) = number(unsigned)?;
    let unit = match rest {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    match number {
        Number::Nothing => Some(Duration::ZERO),
        Number::Some(_) if is_negative => None,
        // As long as a clock can say, or longer: for ever.
        Number::Some(seconds) => Some(Duration::try_from_secs_f64(seconds * unit).unwrap_or(Duration::MAX).max(SHORTEST)),
    }
}

enum Number {
    Nothing,
    /// More than nothing, even where a float cannot say how little it is, and has come to 0.
    Some(f64),
}

/// The number that a text begins with, and what is behind it.
fn number(text: &str) -> Option<(Number, &str)> {
    for name in ["infinity", "inf"] {
        if text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return Some((Number::Some(f64::INFINITY), &text[name.len()..]));
        }
    }
    let (mantissa, rest) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (Mantissa::of(digits, 16), digits),
        None => (None, text),
    };
    // An x without a digit behind it is no part of the number.
    let Some(mantissa) = mantissa else { return decimal(text) };
    let (exponent, rest) = exponent(&rest[mantissa.len..], 'p');
    let number = if mantissa.is_nothing { Number::Nothing } else { Number::Some(hexadecimal(&mantissa, exponent)) };
    Some((number, rest))
}

fn decimal(text: &str) -> Option<(Number, &str)> {
    let mantissa = Mantissa::of(text, 10)?;
    let (_, rest) = exponent(&text[mantissa.len..], 'e');
    let float = text[..text.len() - rest.len()].parse().ok()?;
    Some((if mantissa.is_nothing { Number::Nothing } else { Number::Some(float) }, rest))
}

/// Digits, with a point among them or not.
struct Mantissa<'a> {
    whole: &'a str,
    fraction: &'a str,
    len: usize,
    is_nothing: bool,
}

impl Mantissa<'_> {
    fn of(text: &str, radix: u32) -> Option<Mantissa<'_>> {
        let digits = |text: &str| text.find(|digit: char| !digit.is_digit(radix)).unwrap_or(text.len());
        let (whole, rest) = text.split_at(digits(text));
        let fraction = rest.strip_prefix('.').map_or("", |rest| &rest[..digits(rest)]);
        let len = if rest.starts_with('.') { whole.len() + 1 + fraction.len() } else { whole.len() };
        let is_nothing = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
        (!whole.is_empty() || !fraction.is_empty()).then_some(Mantissa { whole, fraction, len, is_nothing })
    }
}

/// The exponent that a text begins with, 0 if there is none, and what is behind it.
fn exponent(text: &str, letter: char) -> (i64, &str) {
    let Some(signed) = text.strip_prefix([letter, letter.to_ascii_uppercase()]) else { return (0, text) };
    let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    let (digits, rest) = digits.split_at(digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len()));
    if digits.is_empty() {
        return (0, text);
    }
    // One too large for this is too large, or too small, for every float.
    let size = digits.parse().unwrap_or(i64::from(i32::MAX));
    (if signed.starts_with('-') { -size } else { size }, rest)
}

/// To the precision of a clock: the digits that a float has no room for are cut off.
fn hexadecimal(mantissa: &Mantissa<'_>, exponent: i64) -> f64 {
    let (mut value, mut scale) = (0_u64, exponent);
    for (at, digit) in mantissa.whole.chars().chain(mantissa.fraction.chars()).enumerate() {
        let is_fraction = at >= mantissa.whole.len();
        if value >> 60 == 0 {
            value = value << 4 | u64::from(digit.to_digit(16).unwrap_or(0));
            scale = scale.saturating_sub(if is_fraction { 4 } else { 0 });
        } else {
            scale = scale.saturating_add(if is_fraction { 0 } else { 4 });
        }
    }
    value as f64 * 2_f64.powi(scale.clamp(-2000, 2000) as i32)
}
