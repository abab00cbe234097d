//! Points in time and lengths of time, in whole seconds. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: seconds since 1970, UTC. Written as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// The last second that RFC 3339 can write: the end of the year 9999.
const SECS_MAX: u64 = 253_402_207_200;

impl Timestamp {
    /// From seconds since 1970; the end of the year 9999 at most.
    pub fn from_secs(secs: u64) -> Timestamp {
        Timestamp(secs.min(SECS_MAX))
    }

    /// Seconds since 1970.
    pub fn as_secs(self) -> u64 {
        self.0
    }

    /// This much later.
    pub fn plus(self, length: Seconds) -> Timestamp {
        Timestamp::from_secs(self.0.saturating_add(length.0))
    }

    /// How long after `earlier` this is; nothing when it is not after it.
    pub fn since(self, earlier: Timestamp) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = i64::try_from(self.0).expect("a timestamp is below the year 10000");
        let time = jiff::Timestamp::from_second(secs).expect("a timestamp is below the year 10000");
        write!(f, "{time}")
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let time: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?} is not a time: {error}"))?;
        let secs = u64::try_from(time.as_second()).map_err(|_| format!("{text:?} is before 1970"))?;
        Ok(Timestamp::from_secs(secs))
    }
}

/// A length of time in whole seconds, written like `90s`, `30m`, `2h`, `7d` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(pub u64);

/// The longest length that is accepted, ten years: no sum of a few of these overflows.
const LENGTH_SECS_MAX: u64 = 10 * 365 * 86_400;
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, secs) in UNITS {
            if rest / secs > 0 {
                write!(f, "{}{unit}", rest / secs)?;
                rest %= secs;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Seconds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a length of time: write for example 90s, 30m, 2h, 7d or 1h30m");
        let mut total: u64 = 0;
        let mut number = String::new();
        for c in text.chars() {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            let (_, secs) = UNITS.iter().find(|(unit, _)| *unit == c).ok_or_else(wrong)?;
            let count: u64 = number.parse().map_err(|_| wrong())?;
            total = count.checked_mul(*secs).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            number.clear();
        }
        if !number.is_empty() || text.is_empty() {
            return Err(wrong());
        }
        if total > LENGTH_SECS_MAX {
            return Err(format!("{text:?} is longer than ten years"));
        }
        Ok(Seconds(total))
    }
}

impl TryFrom<String> for Seconds {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Seconds> for String {
    fn from(length: Seconds) -> String {
        length.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_and_write() {
        for (text, secs, canonical) in [
            ("90s", 90, "1m30s"),
            ("30m", 1800, "30m"),
            ("1h30m", 5400, "1h30m"),
            ("0s", 0, "0s"),
            ("7d", 604_800, "7d"),
        ] {
            let length: Seconds = text.parse().expect(text);
            assert_eq!((length.0, length.to_string().as_str()), (secs, canonical));
        }
        for bad in ["", "30", "m", "-1s", "1.5h", "5 m", "99999999999999999999s", "4000d"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        let time = Timestamp::from_secs(1_790_000_000);
        assert_eq!(time.to_string(), "2026-09-21T14:13:20Z");
        assert_eq!(Timestamp::try_from(time.to_string()), Ok(time));
        assert!(Timestamp::from_secs(u64::MAX).to_string().starts_with("9999-"));
    }
}
