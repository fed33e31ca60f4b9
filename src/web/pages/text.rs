//! Numbers and names as people read them. Pure functions, so that the pages and their tests agree.

/// A size in decimal units with two significant digits at least: `3.2 GB`, `32 GB`, `0 bytes`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return counted(bytes, "byte", "bytes");
    }
    let mut unit_bytes: u64 = 1000;
    for (index, unit) in UNITS.iter().enumerate() {
        // In tenths, rounded once: a value that rounds up to 1000 belongs to the next unit.
        let tenths = (u128::from(bytes) * 10 + u128::from(unit_bytes) / 2) / u128::from(unit_bytes);
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        let whole = (u128::from(bytes) + u128::from(unit_bytes) / 2) / u128::from(unit_bytes);
        if whole < 1000 || index + 1 == UNITS.len() {
            return format!("{whole} {unit}");
        }
        unit_bytes *= 1000;
    }
    counted(bytes, "byte", "bytes")
}

/// A configured limit: in the binary unit that divides it (`1 TiB`), else as [`human_bytes`].
#[must_use]
pub fn human_limit(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.trailing_zeros() / 10).min(6);
    let whole = if power == 0 { bytes } else { bytes >> (10 * power) };
    match UNITS.get((power as usize).wrapping_sub(1)) {
        Some(unit) if bytes != 0 && whole < 10_000 => format!("{} {unit}", human_count(whole)),
        _ => human_bytes(bytes),
    }
}

/// A distance in kilometres, no finer than places are known: `57 km`, `6,480 km`.
#[must_use]
pub fn human_km(km: f64) -> String {
    if !km.is_finite() || km < 0.0 {
        return "an unknown distance".to_owned();
    }
    if km < 1.0 {
        return "less than 1 km".to_owned();
    }
    let rounded = if km < 1000.0 { km.round() } else { (km / 10.0).round() * 10.0 };
    format!("{} km", human_count(rounded as u64))
}

/// A number with a comma between its thousands: `12,345`.
#[must_use]
pub fn human_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 file`, `12,345 files`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", human_count(number), if number == 1 { one } else { many })
}

/// A time that passed, in its largest unit: `just now`, `5 minutes ago`, `3 days ago`.
#[must_use]
pub fn human_ago(seconds: u64) -> String {
    const UNITS: [(u64, &str, &str); 5] = [
        (365 * 86_400, "year", "years"),
        (30 * 86_400, "month", "months"),
        (86_400, "day", "days"),
        (3600, "hour", "hours"),
        (60, "minute", "minutes"),
    ];
    match UNITS.iter().find(|(unit, ..)| seconds >= *unit) {
        Some((unit, one, many)) => format!("{} ago", counted(seconds / unit, one, many)),
        None if seconds < 5 => "just now".to_owned(),
        None => format!("{seconds} seconds ago"),
    }
}

/// Names in one sentence: `Toronto`, `Amsterdam and Toronto`, `A, B and C`.
#[must_use]
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// A text as one word of a POSIX shell. People paste the pages' command lines, and a link ends in a
/// name that a stranger chose.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What a file is, roughly, for the colour of its badge.
#[must_use]
pub fn kind_of(media_type: &str) -> &'static str {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", _)) => "image",
        Some(("video", _)) => "video",
        Some(("audio", _)) => "audio",
        Some(("text", _)) => "text",
        Some(("application", "pdf")) => "document",
        Some(("application", kind)) if kind.contains("document") || kind.contains("word") => "document",
        Some(("application", "json" | "xml" | "javascript" | "toml" | "yaml")) => "text",
        Some(("application", kind))
            if ["zip", "tar", "compressed", "zstd", "xz", "rar"].iter().any(|part| kind.contains(part)) =>
        {
            "archive"
        }
        _ => "other",
    }
}

/// The few letters in a file's badge: its extension in capitals where that is short and plain.
#[must_use]
pub fn badge_of(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty()
                && (1..=4).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            extension.to_ascii_uppercase()
        }
        _ => "FILE".to_owned(),
    }
}

/// What somebody can do about an answer with this status.
#[must_use]
pub const fn advice(status: u16) -> &'static str {
    match status {
        400 => "Check the address for something missing or added, or begin again from the start page.",
        401 => "Ask the people who run this site for a token that is good for this.",
        403 => {
            "Open this site yourself and do it from there, or ask the people who run it for a token that is \
             good for this."
        }
        404 => "Check the link for missing characters, or look for the file by its name.",
        405 => "Begin again from the start page.",
        408 => "The connection was too slow or stopped. Try again when it is better.",
        409 => "Nothing was stored. The file that is here already stays as it is.",
        410 => "Download links end after some hours. The file’s lasting link makes a new one.",
        413 => "Send a smaller file, or ask the people who run this site to raise the limit.",
        421 => "Open this site under the address that its people gave you.",
        422 => "The bytes changed on their way, or the digest belongs to another file. Send it again.",
        429 => "Wait a little and try again.",
        503 => "This usually passes by itself. Nothing that was stored is lost.",
        507 => "Space has to be made or added first: tell the people who run this site.",
        status if status >= 500 => {
            "Try again. If it stays, tell the people who run this site when it happened."
        }
        _ => "Begin again from the start page.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well_around_every_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (4 << 20, "4.2 MB"),
            (3_200_000_000, "3.2 GB"),
            (1 << 40, "1.1 TB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(human_bytes(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn limits_keep_the_unit_they_were_set_in() {
        for (bytes, text) in [
            (1 << 40, "1 TiB"),
            (1536 << 20, "1,536 MiB"),
            (1 << 30, "1 GiB"),
            (5_000_000_000, "5.0 GB"),
            (100, "100 bytes"),
            (0, "0 bytes"),
            (1 << 63, "8 EiB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(human_limit(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn distances_are_no_finer_than_places_are_known() {
        for (km, text) in [
            (0.0, "less than 1 km"),
            (0.99, "less than 1 km"),
            (1.4, "1 km"),
            (56.7, "57 km"),
            (999.4, "999 km"),
            (999.6, "1,000 km"),
            (6476.0, "6,480 km"),
            (19_993.2, "19,990 km"),
            (f64::NAN, "an unknown distance"),
            (-1.0, "an unknown distance"),
        ] {
            assert_eq!(human_km(km), text, "{km}");
        }
    }

    #[test]
    fn numbers_nouns_and_lists() {
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(999), "999");
        assert_eq!(human_count(1000), "1,000");
        assert_eq!(human_count(12_345_678), "12,345,678");
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(1200, "file", "files"), "1,200 files");
        assert_eq!(listed::<&str>(&[]), "");
        assert_eq!(listed(&["A"]), "A");
        assert_eq!(listed(&["A", "B"]), "A and B");
        assert_eq!(listed(&["A", "B", "C"]), "A, B and C");
    }

    #[test]
    fn ages_use_their_largest_unit() {
        for (seconds, text) in [
            (0, "just now"),
            (5, "5 seconds ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (86_400, "1 day ago"),
            (45 * 86_400, "1 month ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(human_ago(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_word_in_a_command_line() {
        assert_eq!(
            shell_word("http://127.0.0.1:8080/d/ab/a%20b.txt"),
            "http://127.0.0.1:8080/d/ab/a%20b.txt"
        );
        assert_eq!(shell_word("https://x/$(rm -r ~)"), "'https://x/$(rm -r ~)'");
        assert_eq!(shell_word("https://x/it's;ls"), r"'https://x/it'\''s;ls'");
        assert_eq!(shell_word("~"), "'~'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn badges_show_short_plain_extensions_only() {
        assert_eq!(badge_of("a.jpg"), "JPG");
        assert_eq!(badge_of("a.tar.zst"), "ZST");
        assert_eq!(badge_of(".bashrc"), "FILE");
        assert_eq!(badge_of("a."), "FILE");
        assert_eq!(badge_of("a.<b>"), "FILE");
        assert_eq!(badge_of("תמונה.é"), "FILE");
        assert_eq!(kind_of("IMAGE/png"), "image");
        assert_eq!(kind_of("text/plain; charset=utf-8"), "text");
        assert_eq!(kind_of("application/pdf"), "document");
        assert_eq!(kind_of("application/zip"), "archive");
        assert_eq!(kind_of("nonsense"), "other");
    }
}
