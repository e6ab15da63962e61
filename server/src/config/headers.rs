//! Headers of the sources that are asked: plain ones from the configuration, one secret from a
//! file.

use std::path::Path;

use touchline_ingest::outbound::Hidden;

use super::secrets;

/// A name and its value.
pub(super) type Header = (Box<str>, Hidden);

/// All of them: `plain` ones are written as in `accept-language: en`. `Err` never repeats the
/// secret.
pub(super) fn read(
    plain: &[String],
    secret_header: Option<&str>,
    secret_file: Option<&Path>,
) -> Result<Vec<Header>, String> {
    let split = |text: &String| {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().into(), value.trim().into()))
    };
    let expects = || "`headers` are written as in \"accept-language: en\"".to_owned();
    let plain = plain.iter().map(|text| split(text).ok_or_else(expects));
    let mut headers = plain.collect::<Result<Vec<Header>, String>>()?;
    match (secret_header, secret_file) {
        (None, None) => {}
        (Some(name), Some(file)) => headers.push((name.into(), secrets::read_one(file)?)),
        _ => return Err("a secret header and its file belong together".into()),
    }
    Ok(headers)
}
