//! Partners' secrets: read from a file or the configuration, kept in memory, shown nowhere.
//!
//! A file holds one secret a line, written as the partner's `secret_encoding` says; empty lines and
//! lines that begin with `#` don't count. Errors name the file and the line, never what stands
//! there.

use std::path::Path;

use touchline_ingest::broadcast::{Secret, SecretEncoding};
use touchline_ingest::outbound::Hidden;

use super::Problem;
use super::raw::Partner;
use crate::limits::SECRETS_FILE_BYTES_MAX;

/// Both kinds of a partner's secrets; none is an error unless it is polled. `folder` is what a
/// relative file is relative to.
pub fn read(name: &str, partner: &Partner, folder: &Path) -> Result<Vec<Secret>, Problem> {
    let encoding = encoding(partner.secret_encoding.as_deref());
    let at = |key: &str| format!("sources.broadcast.{name}.{key}");
    let mut secrets = Vec::new();
    for (n, text) in partner.secrets.iter().enumerate() {
        secrets.push(Secret::decode(text, encoding).map_err(|expects| {
            Problem::Unfit(format!("`{}`: secret {} {expects}", at("secrets"), n + 1))
        })?);
    }
    if let Some(file) = partner.secrets_file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
        let file = folder.join(file);
        let from_file = read_file(&file, encoding)
            .map_err(|reason| Problem::Unfit(format!("`{}`: {reason}", at("secrets_file"))))?;
        secrets.extend(from_file);
    }
    if secrets.is_empty() && partner.poll_url.is_none() {
        return Err(Problem::Unfit(format!(
            "partner `{name}` has no secret: put one `whsec_<base64>` a line in a file and name \
             it in `{}`",
            at("secrets_file")
        )));
    }
    Ok(secrets)
}

/// The one secret that is all of a file, but for white space at its end.
pub(super) fn read_one(file: &Path) -> Result<Hidden, String> {
    let text = bounded(file)?;
    let text = text.trim_end();
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(text.into()) }
}

/// What `secret_encoding` names.
pub fn encoding(name: Option<&str>) -> SecretEncoding {
    let known = SecretEncoding::ALL.into_iter().find(|(_, own)| Some(*own) == name);
    known.map_or(SecretEncoding::Whsec, |(encoding, _)| encoding)
}

/// A file's text, if it isn't too large for secrets.
fn bounded(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let size = std::fs::metadata(file).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > SECRETS_FILE_BYTES_MAX {
        return Err(format!("{shown} is larger than {SECRETS_FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))
}

fn read_file(file: &Path, encoding: SecretEncoding) -> Result<Vec<Secret>, String> {
    let (text, shown) = (bounded(file)?, file.display());
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let wanted = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    wanted
        .map(|(n, line)| {
            Secret::decode(line, encoding).map_err(|e| format!("{shown}:{n}: the secret {e}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn secret(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn a_file_holds_one_secret_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.secrets");
        let text = format!("# new\n{}\n\n  {}  \n", secret(32), secret(24));
        std::fs::write(&file, text).unwrap();
        let partner = Partner { secrets_file: Some("p.secrets".into()), ..Partner::default() };
        assert_eq!(read("p", &partner, folder.path()).unwrap().len(), 2);
        std::fs::write(&file, "\nwhsec_short\n").unwrap();
        let error = read("p", &partner, folder.path()).unwrap_err().to_string();
        assert!(error.contains("p.secrets:2:"), "{error}");
        assert!(!error.contains("short"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        let error = read("p", &partner, folder.path()).unwrap_err().to_string();
        assert!(error.contains("has no secret"), "{error}");
    }
}
