//! Headers of the sources that are asked: plain ones from the configuration, one secret from a
//! file.

use std::path::{Path, PathBuf};

use touchline_ingest::outbound::Hidden;

use super::secrets;

/// A name and its value.
pub(super) type Header = (Box<str>, Hidden);

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
            headers.push((name.into(), secrets::read_one(&folder.join(file))?));
        }
        _ => return Err("a secret header and its file belong together".into()),
    }
    Ok(headers)
}
