//! Which web pages may connect.
//!
//! A browser sends the page's origin, and no script can change it. Programs send none, and are let
//! in: what Touchline tells is public until there are tokens. An origin is compared as a whole,
//! byte by byte; nothing is matched by prefix, suffix or pattern, and `null` (sandboxed frames,
//! local files) is nobody's.

/// Which origins may connect, besides the absent one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OriginPolicy {
    /// The port the live board is served on. `http://<host>:<this>` is let in, where `<host>` is
    /// the one this very request was sent to. `None`: no board.
    pub board_port: Option<u16>,
    /// Origins let in as they are, such as `https://live.example.com`.
    pub exact: Vec<String>,
}

impl OriginPolicy {
    /// Whether a page of `origin` may connect to this server, reached as `host` (the request's
    /// `Host`).
    pub fn allows(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return true };
        self.exact.iter().any(|exact| exact == origin)
            || is_loopback(origin)
            || self.board_port.is_some_and(|port| is_board(origin, host, port))
    }
}

fn is_board(origin: &str, host: &str, port: u16) -> bool {
    let Some((name, _)) = split_port(host) else { return false };
    match origin.strip_prefix("http://").and_then(split_port) {
        Some((origin_name, origin_port)) => {
            !name.is_empty() && origin_name == name && origin_port.unwrap_or(80) == port
        }
        None => false,
    }
}

/// On any port of `localhost`, `127.0.0.0/8` or `[::1]`: pages this machine's own user works on.
fn is_loopback(origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some((name, _)) = rest.and_then(split_port) else { return false };
    let is_v4 = || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    name == "localhost" || name == "[::1]" || is_v4()
}

/// `name:port`, `name`, `[v6]:port` or `[v6]` in its parts. `None` if it is anything else.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let name_bytes = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at(name_bytes);
    if rest.is_empty() {
        return Some((name, None));
    }
    let digits = rest.strip_prefix(':')?;
    // `parse` would let a sign and leading zeros through.
    let is_plain = !digits.starts_with(['0', '+']) && digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| is_plain)?;
    Some((name, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, cases: &[(&str, bool)]) {
        let policy =
            OriginPolicy { board_port: Some(8081), exact: vec!["https://live.example".into()] };
        for (origin, want) in cases {
            assert_eq!(policy.allows(Some(origin), host), *want, "{origin} at {host}");
        }
        assert!(policy.allows(None, host));
    }

    #[test]
    fn the_board_is_let_in_and_its_doubles_are_not() {
        check(
            "goals.example:8080",
            &[
                ("http://goals.example:8081", true),
                ("https://goals.example:8081", false),
                ("http://goals.example:8082", false),
                ("http://goals.example:08081", false),
                ("http://goals.example:+8081", false),
                ("http://goals.example", false),
                ("http://Goals.example:8081", false),
                ("http://evil-goals.example:8081", false),
                ("http://goals.example.evil:8081", false),
                ("http://goals.example:8081.evil", false),
                ("http://goals.example:8081/", false),
                ("http://evil@goals.example:8081", false),
                ("HTTP://goals.example:8081", false),
            ],
        );
        check("[2001:db8::1]:8080", &[("http://[2001:db8::1]:8081", true)]);
        check("", &[("http://:8081", false)]);
        let plain = OriginPolicy { board_port: Some(80), exact: Vec::new() };
        assert!(plain.allows(Some("http://goals.example"), "goals.example:8080"));
    }

    #[test]
    fn an_exact_origin_is_exact() {
        check(
            "h",
            &[
                ("https://live.example", true),
                ("http://live.example", false),
                ("https://live.example:443", false),
                ("https://live.example.evil", false),
                ("https://LIVE.example", false),
                ("null", false),
                ("", false),
            ],
        );
    }

    #[test]
    fn loopback_is_an_address_and_not_a_prefix() {
        check(
            "h",
            &[
                ("http://localhost", true),
                ("http://localhost:3000", true),
                ("https://127.0.0.1:8443", true),
                ("http://127.9.8.7:1", true),
                ("http://[::1]:5173", true),
                ("http://localhost.evil", false),
                ("http://127.0.0.1.evil", false),
                ("http://127.1", false),
                ("http://127.0.0.1:80:80", false),
                ("http://[::1]evil", false),
                ("http://[::1", false),
                ("file://localhost", false),
            ],
        );
    }
}
