//! Headers of the sources that are asked: plain ones from the configuration, one secret from a
//! file.

use std::path::{Path, PathBuf};

use crate::limits::SECRETS_FILE_BYTES_MAX;

/// A name and its value.
pub(super) type Header = (Box<str>, Box<str>);

/// What a section says of headers.
pub(super) struct Given<'a> {
    /// As in `accept-language: en`.
    pub plain: &'a [String],
    /// The secret one's name.
    pub secret_header: Option<&'a str>,
    /// Where its value stands.
    pub secret_file: Option<&'a PathBuf>,
}

/// All of them; `folder` is what a relative file is relative to. `Err` never repeats the secret.
pub(super) fn read(given: &Given<'_>, folder: &Path) -> Result<Vec<Header>, String> {
    let split = |text: &String| {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().into(), value.trim().into()))
    };
    let expects = || "`headers` are written as in \"accept-language: en\"".to_owned();
    let plain = given.plain.iter().map(|text| split(text).ok_or_else(expects));
    let mut headers = plain.collect::<Result<Vec<Header>, String>>()?;
    match (given.secret_header, given.secret_file) {
        (None, None) => {}
        (Some(name), Some(file)) => {
            let file = folder.join(file);
            let failed = |error: std::io::Error| format!("{}: {error}", file.display());
            if std::fs::metadata(&file).map_err(failed)?.len() > SECRETS_FILE_BYTES_MAX {
                return Err(format!("{} is too large for a header", file.display()));
            }
            let value = std::fs::read_to_string(&file).map_err(failed)?;
            headers.push((name.into(), value.trim_end().into()));
        }
        _ => return Err("a secret header and its file belong together".into()),
    }
    Ok(headers)
}
