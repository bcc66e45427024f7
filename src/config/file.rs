//! Files: the configuration itself and values kept in files of their own, both bounded.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

/// No configuration is larger; a wrong path to a disk image is noticed at once.
const MOST_CONFIG: u64 = 4 << 20;
const MOST_VALUE: u64 = 64 << 10;

/// Reads a configuration file.
pub(super) fn read_config(path: &Path) -> Result<String, String> {
    read(path, MOST_CONFIG)
}

/// Reads a value and cuts the line end that editors put behind it.
pub(super) fn read_value(path: &Path) -> Result<String, String> {
    let text = read(path, MOST_VALUE)?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(value.to_owned())
}

fn read(path: &Path, most: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| why(&error))?;
    if bytes.len() as u64 > most {
        return Err(format!("it is larger than {} KiB", most >> 10));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
