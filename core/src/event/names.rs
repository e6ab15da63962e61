//! Grammars of the short names: teams, languages, sources, ids, types.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::{ID_BYTES_MAX, KIND_BYTES_MAX, NAME_BYTES_MAX};

/// Why a name was refused. The text completes "`field` ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A team id or source.
    #[error("must be 1 to 32 of a-z, 0-9, '_' and '-'")]
    Name,
    /// A type.
    #[error("must be 1 to 64 of a-z, 0-9, '_', '.' and '-'")]
    Kind,
    /// An event id or correlation id.
    #[error("must be 1 to 128 printable ASCII characters")]
    Id,
    /// A language tag.
    #[error("must be a language tag of 2 to 8 of a-z, 0-9 and '-', such as es or pt-br")]
    Lang,
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')
}

/// Checks a source's name: the grammar of teams.
pub fn check_source(name: &str) -> Result<(), NameError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte);
    fits.then_some(()).ok_or(NameError::Name)
}

/// Checks an event's type.
pub fn check_kind(kind: &str) -> Result<(), NameError> {
    let fits = (1..=KIND_BYTES_MAX).contains(&kind.len())
        && kind.bytes().all(|byte| is_name_byte(byte) || byte == b'.');
    fits.then_some(()).ok_or(NameError::Kind)
}

/// Checks an event's id or a correlation id. Printable includes the space.
pub fn check_id(id: &str) -> Result<(), NameError> {
    let fits =
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| (0x20..0x7f).contains(&b));
    fits.then_some(()).ok_or(NameError::Id)
}

/// The thing people follow: `[a-z0-9_-]{1,32}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Team(Arc<str>);

impl Team {
    /// Checks and keeps `name`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_source(name)?;
        Ok(Self(name.into()))
    }

    /// Its id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Team {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A language tag, `es` or `pt-br`, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lang([u8; 8]);

impl Lang {
    /// Checks and keeps `tag`.
    pub fn new(tag: &str) -> Result<Self, NameError> {
        let bytes = tag.as_bytes();
        let fits = (2..=8).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !fits {
            return Err(NameError::Lang);
        }
        let mut packed = [0; 8];
        packed[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(packed))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(8);
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_grammar() {
        for good in ["ars", "a", "man-city_2", &"x".repeat(32)] {
            assert!(Team::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Ars", "a b", "ü", "a+b", "a:b", &"x".repeat(33)] {
            assert_eq!(Team::new(bad).unwrap_err(), NameError::Name, "{bad}");
        }
        assert!(check_kind("goal.own").is_ok());
        assert!(check_kind("Goal").is_err());
        assert!(check_id("a \"quoted\" id").is_ok());
        assert!(check_id("line\nbreak").is_err());
        assert_eq!(Lang::new("pt-br").unwrap().as_str(), "pt-br");
        assert_eq!(Lang::new("zh-hant1").unwrap().as_str(), "zh-hant1");
        for bad in ["", "e", "ES", "1s", "portuguese"] {
            assert!(Lang::new(bad).is_err(), "{bad}");
        }
    }
}
