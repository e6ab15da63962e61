//! Partners' secrets: read from a file or the configuration, kept in memory, shown nowhere.
//!
//! A secret is `whsec_` and base64, as Standard Webhooks say. A file holds one a line; empty lines
//! and lines that begin with `#` don't count. Errors name the file and the line, never what stands
//! there.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Problem;
use super::raw::Partner;
use crate::limits::SECRETS_FILE_BYTES_MAX;
use touchline_ingest::limits::{SECRET_KEY_BYTES_MAX, SECRET_KEY_BYTES_MIN, SECRETS_MAX};

/// How a secret's text begins.
pub const PREFIX: &str = "whsec_";

/// A signing key. Its debug text says only that it is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Checks `text`. `Err` completes the sentence "the secret ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_prefix(PREFIX).ok_or_else(|| format!("must begin with {PREFIX}"))?;
        let key =
            STANDARD.decode(body).map_err(|_| "must be base64 after its prefix".to_owned())?;
        if !(SECRET_KEY_BYTES_MIN..=SECRET_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(format!(
                "must hold {SECRET_KEY_BYTES_MIN} to {SECRET_KEY_BYTES_MAX} bytes"
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text, for whoever signs or verifies.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Both kinds of a partner's secrets. `folder` is what a relative file is relative to.
pub fn read(name: &str, partner: &Partner, folder: &Path) -> Result<Vec<Secret>, Problem> {
    let at = |key: &str| format!("sources.broadcast.{name}.{key}");
    let mut secrets = Vec::new();
    for (n, text) in partner.secrets.iter().enumerate() {
        secrets.push(Secret::parse(text).map_err(|expects| {
            Problem::Unfit(format!("`{}`: secret {} {expects}", at("secrets"), n + 1))
        })?);
    }
    if let Some(file) = partner.secrets_file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
        let file = folder.join(file);
        let from_file = read_file(&file)
            .map_err(|reason| Problem::Unfit(format!("`{}`: {reason}", at("secrets_file"))))?;
        secrets.extend(from_file);
    }
    match secrets.len() {
        0 => Err(Problem::Unfit(format!(
            "partner `{name}` has no secret: put one `whsec_<base64>` a line in a file and name \
             it in `{}`",
            at("secrets_file")
        ))),
        1..=SECRETS_MAX => Ok(secrets),
        _ => Err(Problem::Unfit(format!("partner `{name}` has more than {SECRETS_MAX} secrets"))),
    }
}

fn read_file(file: &PathBuf) -> Result<Vec<Secret>, String> {
    let shown = file.display();
    let size = std::fs::metadata(file).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > SECRETS_FILE_BYTES_MAX {
        return Err(format!("{shown} is larger than {SECRETS_FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let wanted = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    wanted
        .map(|(n, line)| Secret::parse(line).map_err(|e| format!("{shown}:{n}: the secret {e}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: usize) -> String {
        format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn a_secret_is_checked_and_never_shown() {
        let good = Secret::parse(&secret(24)).unwrap();
        assert_eq!(format!("{good:?}"), "Secret(..)");
        for bad in ["", "whsec_", "whsec_!!!!", &secret(8), &secret(200), "MfKQ9r8GKYqrTwjU"] {
            let error = Secret::parse(bad).unwrap_err();
            assert!(bad.len() < 8 || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_file_holds_one_secret_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.secrets");
        let text = format!("# new\n{}\n\n  {}  \n", secret(32), secret(24));
        std::fs::write(&file, text).unwrap();
        let partner = Partner { secrets_file: Some("p.secrets".into()), secrets: vec![] };
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
