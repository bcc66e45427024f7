use super::Mistake;
use crate::account::Rate;
use std::time::Duration;

const MOST_IN_ONE_TIME: u32 = 100_000;
const LONGEST_TIME: Duration = Duration::from_hours(24);
/// Nobody waits longer than this, whatever strangers do.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 3600 * 1000),
    ("d", 24 * 3600 * 1000),
];
const SIZES: [(&str, u64); 5] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("B", 1),
];

/// A number and one unit: "500ms", "2s", "15m", "12h", "7d".
pub fn duration(text: &str) -> Result<Duration, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a duration", hint);
    let (number, unit) = split(text);
    let hint = "write a number and a unit: \"500ms\", \"2s\", \"15m\", \"12h\" or \"7d\"";
    if number.is_empty() {
        return Err(wrong(hint));
    }
    let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let one_unit = "write one number and one unit: \"90m\" instead of \"1h30m\"";
        let several = unit.contains(|c: char| c.is_ascii_digit());
        return Err(wrong(if several { one_unit } else { hint }));
    };
    let count: u64 = number.parse().map_err(|_| wrong("the number is too large"))?;
    count
        .checked_mul(*millis)
        .map(Duration::from_millis)
        .ok_or_else(|| wrong("the number is too large"))
}

/// A number and a binary unit: "100B", "64KiB", "10MiB", "1GiB".
pub fn size(text: &str) -> Result<u64, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a size", hint);
    let (number, unit) = split(text);
    let hint = "write a number and a unit: \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\"";
    if number.is_empty() {
        return Err(wrong(hint));
    }
    let unit = unit.trim_start();
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        let meant = SIZES.iter().find(|(name, _)| {
            let first = name.chars().next().unwrap_or('B');
            unit.starts_with(first) || unit.starts_with(first.to_ascii_lowercase())
        });
        return Err(match meant {
            Some((name, _)) => Mistake::new("is not a size", format!("write \"{number}{name}\"")),
            None => wrong(hint),
        });
    };
    let count: u64 = number.parse().map_err(|_| wrong("the number is too large"))?;
    count
        .checked_mul(*bytes)
        .ok_or_else(|| wrong("the number is too large"))
}

/// So many in so long a time: "10/10m", "5/s".
pub fn rate(text: &str) -> Result<Rate, Mistake> {
    let wrong = |hint: &str| Mistake::new("is not a rate", hint);
    let hint = "write how many in how long a time: \"10/10m\" or \"5/s\"";
    let (count, per) = text.split_once('/').ok_or_else(|| wrong(hint))?;
    let count: u32 = count.parse().map_err(|_| wrong(hint))?;
    let per = if per.starts_with(|letter: char| letter.is_ascii_digit()) {
        duration(per)
    } else {
        duration(&format!("1{per}"))
    };
    let per = per.map_err(|_| wrong(hint))?;
    if count == 0 || per.is_zero() {
        return Err(wrong("at least one in some time; \"unlimited\" for any number"));
    }
    if count > MOST_IN_ONE_TIME || per > LONGEST_TIME {
        return Err(wrong("at most 100000 in at most \"1d\""));
    }
    let rate = Rate { count, per };
    if rate.interval() > LONGEST_WAIT {
        let hint = "the next one is counted after a part of that time only, which is at most \"15m\"";
        return Err(Mistake::new("lets people wait too long", hint));
    }
    Ok(rate)
}

pub(super) fn check_rate(text: &str) -> Result<(), Mistake> {
    rate(text).map(drop)
}

/// Hours and minutes since midnight: "03:00".
pub fn time_of_day(text: &str) -> Result<Duration, Mistake> {
    let number = |part: &str, most: u64| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|number| digits && *number <= most)
    };
    let parts = text.split_once(':');
    let parts = parts.and_then(|(hours, minutes)| Some((number(hours, 23)?, number(minutes, 59)?)));
    let (hours, minutes) = parts.ok_or_else(|| {
        let hint = "write hours and minutes, in UTC: \"03:00\", \"23:30\"";
        Mistake::new("is not a time of day", hint)
    })?;
    Ok(Duration::from_mins(hours * 60 + minutes))
}

pub fn check_time_of_day(text: &str) -> Result<(), Mistake> {
    time_of_day(text).map(drop)
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

/// The shortest spelling that [`duration`] reads back.
pub fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS
        .iter()
        .rev()
        .find(|(_, size)| millis > 0 && millis.is_multiple_of(*size))
        .unwrap_or(&("s", 1000));
    format!("{}{unit}", millis / size)
}

/// The shortest spelling that [`size`] reads back.
pub fn write_size(bytes: u64) -> String {
    let (unit, size) = SIZES
        .iter()
        .rev()
        .filter(|(name, _)| *name != "B")
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::{duration, rate, size, time_of_day, write_duration, write_size};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        for wrong in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1h30m",
            "5 s",
            "5S",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_in_a_time_that_makes_nobody_wait_long() {
        let ten = rate("10/10m").unwrap();
        assert_eq!(
            (ten.count, ten.per, ten.interval()),
            (10, Duration::from_mins(10), Duration::from_mins(1))
        );
        assert_eq!(rate("5/s").unwrap().per, Duration::from_secs(1));
        assert!(rate("1/15m").is_ok() && rate("96/1d").is_ok());
        for wrong in [
            "",
            "10",
            "/",
            "10/",
            "/10m",
            "0/1m",
            "1/0s",
            "-1/1m",
            "1.5/m",
            "10/10",
            "10/10m/1",
            "10 / 10m",
            "1/16m",
            "1/1d",
            "100001/1d",
            "10/2d",
            "99999999999/1h",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary_and_say_so() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1B"), Ok(1));
        for wrong in [
            "",
            "64",
            "64KB",
            "64kib",
            "64k",
            "KiB",
            "99999999999999999999TiB",
            "99999999999TiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_of_day_has_two_digits_each() {
        assert_eq!(time_of_day("03:00"), Ok(Duration::from_hours(3)));
        assert_eq!(time_of_day("23:59"), Ok(Duration::from_mins(1439)));
        for wrong in [
            "", "3:00", "03", "24:00", "03:60", "03:00:00", " 03:00", "+3:00", "03.00", "ab:cd", "-1:00",
        ] {
            assert!(time_of_day(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..u64::MAX / 2, bytes in 0..u64::MAX) {
            prop_assert_eq!(duration(&write_duration(Duration::from_millis(millis))), Ok(Duration::from_millis(millis)));
            prop_assert_eq!(size(&write_size(bytes)), Ok(bytes));
        }
    }
}
