//! Whose PROXY header is believed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::TRUSTED_PROXIES_MAX;

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first of them; IPv4 as it is mapped into IPv6.
    base: u128,
    /// Leading bits that all of them share, of 128.
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// No address, or no length.
    #[error("is no address and no range such as 10.0.0.0/8")]
    Syntax,
    /// Bits are set behind the prefix: it is unclear what was meant.
    #[error("has bits behind its prefix: write the first address of the range")]
    Base,
    /// More than [`TRUSTED_PROXIES_MAX`] of them.
    #[error("has more than {TRUSTED_PROXIES_MAX} entries: name ranges")]
    Many,
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address is the same, mapped or not.
    pub fn contains(&self, address: IpAddr) -> bool {
        (mapped(address) ^ self.base) & mask(self.prefix) == 0
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| BadNetwork::Syntax)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            // No sign, no space, no leading zero: one way to write it.
            Some(text) if text.len() > 1 && text.starts_with('0') || text.starts_with('+') => {
                return Err(BadNetwork::Syntax);
            }
            Some(text) => text.parse().map_err(|_| BadNetwork::Syntax)?,
        };
        if length > bits {
            return Err(BadNetwork::Syntax);
        }
        let (base, prefix) = (mapped(address), 128 - bits + length);
        if base & !mask(prefix) != 0 {
            return Err(BadNetwork::Base);
        }
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Ipv6Addr::from_bits(self.base).to_canonical() {
            IpAddr::V4(v4) if self.prefix >= 96 => write!(f, "{v4}/{}", self.prefix - 96),
            _ => write!(f, "{}/{}", Ipv6Addr::from_bits(self.base), self.prefix),
        }
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Proxies that say whose connections they pass on, and must. Few, shared, and looked through from
/// front to back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Reads them as a configuration lists them. `Err` names the entry that is wrong.
    ///
    /// # Errors
    /// See [`BadNetwork`].
    pub fn parse(texts: &[String]) -> Result<Self, (String, BadNetwork)> {
        if texts.len() > TRUSTED_PROXIES_MAX {
            return Err(("the list".into(), BadNetwork::Many));
        }
        let one = |text: &String| text.parse().map_err(|error| (text.clone(), error));
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a connection from `address` begins with a header.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
