//! The command that sends a delivery as a partner would: curl, with a signature made by openssl.
//! The shell takes the secret from its file, so that it stands on no screen and in no history. To
//! openssl it is given as an argument, there being no other way that all versions know: whoever
//! lists processes can see it meanwhile, and is said so.

use std::path::Path;

use touchline_ingest::broadcast::{
    Encoding, Part, Partner, SECRET_PREFIX, Scheme, SecretEncoding, TimeSource,
};

use crate::config::Loaded;

/// A comment of the shell's; no sign in it means anything to one that takes none.
const WARNING: &str = "# others on this host can see the key while openssl runs; use a secret made \
                       for trying things out";

/// Lines for a POSIX shell. `body` is the file it sends.
pub fn command(loaded: &Loaded, partner: &Partner, body: &Path) -> String {
    let name = partner.name();
    let scheme = &partner.scheme;
    let body = match body == Path::new("-") {
        true => "body.json".to_owned(),
        false => body.display().to_string(),
    };
    let mut lines = vec![WARNING.to_owned(), format!("body={}", quote(&body))];
    lines.push(secret(loaded, name));
    lines.push(format!("key=$({})", key(loaded.secret_encoding(name))));
    lines.push("id=delivery-$(date +%s%N) now=$(date +%s)".into());
    let headers = other_headers(scheme);
    lines.extend(
        headers.iter().map(|(name, variable)| format!("{variable}=...   # what {name} will say")),
    );
    lines.push(format!(
        "signature=$({{ {}; }} | openssl dgst -{} -mac HMAC -macopt hexkey:\"$key\" -binary | {})",
        message(scheme, &headers),
        scheme.algorithm.as_str(),
        encode(scheme.encoding)
    ));
    let address = loaded.options.listen.api;
    let host = if address.ip().is_unspecified() { "127.0.0.1".into() } else { host(address) };
    let mut curl = vec![
        format!("curl -i http://{host}:{}/v1/ingest/broadcast/{name}", address.port()),
        "-H 'content-type: application/json'".into(),
    ];
    curl.extend(sent(scheme, &headers));
    curl.push("--data-binary @\"$body\"".into());
    lines.push(curl.join(" \\\n  "));
    lines.join("\n") + "\n"
}

fn host(address: std::net::SocketAddr) -> String {
    match address.is_ipv6() {
        true => format!("[{}]", address.ip()),
        false => address.ip().to_string(),
    }
}

/// The first secret of the file, or asked for.
fn secret(loaded: &Loaded, name: &str) -> String {
    match loaded.file_at(&format!("sources.broadcast.{name}.secrets_file")) {
        Some(file) => {
            let file = quote(&file.display().to_string());
            let strip = "s/^[[:space:]]*//; s/[[:space:]]*$//; /^#/d; /^$/d";
            format!("secret=$(sed '{strip}' {file} | head -n 1)")
        }
        None => "printf 'secret: '; read -r secret   # it stands in the configuration".into(),
    }
}

/// The key of `$secret` as hex, which openssl takes whatever is in it.
fn key(encoding: SecretEncoding) -> String {
    let bytes = match encoding {
        SecretEncoding::Whsec => {
            format!("printf %s \"${{secret#{SECRET_PREFIX}}}\" | base64 -d")
        }
        SecretEncoding::Base64 => "printf %s \"$secret\" | tr -- '-_' '+/' | base64 -d".into(),
        SecretEncoding::Text => "printf %s \"$secret\"".into(),
        SecretEncoding::Hex => return "printf %s \"$secret\"".into(),
    };
    format!("{bytes} | od -An -v -tx1 | tr -d ' \\n'")
}

/// Headers that are signed and whose content nobody here knows, each with a variable's name.
fn other_headers(scheme: &Scheme) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for part in scheme.signed.parts() {
        let Part::Header(name) = part else { continue };
        let is_time = matches!(&scheme.time, Some(TimeSource::Header(own)) if own == name);
        if !is_time && all.iter().all(|(known, _)| known != name.as_str()) {
            all.push((name.to_string(), format!("header_{}", all.len() + 1)));
        }
    }
    all
}

/// Writes what is signed.
fn message(scheme: &Scheme, headers: &[(String, String)]) -> String {
    let part = |part: &Part| match part {
        Part::Literal(text) => format!("printf %s {}", quote(text)),
        Part::Body => "cat \"$body\"".to_owned(),
        Part::Timestamp => "printf %s \"$now\"".to_owned(),
        Part::Id => "printf %s \"$id\"".to_owned(),
        Part::Header(name) => {
            let known = headers.iter().find(|(own, _)| own == name.as_str());
            format!("printf %s \"${}\"", known.map_or("now", |(_, variable)| variable))
        }
    };
    scheme.signed.parts().iter().map(part).collect::<Vec<_>>().join("; ")
}

fn encode(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "od -An -v -tx1 | tr -d ' \\n'",
        Encoding::Base64 => "base64 | tr -d '\\n'",
        Encoding::Base64Url => "base64 | tr -d '\\n' | tr '+/' '-_'",
    }
}

/// The headers of the scheme, as flags of curl.
fn sent(scheme: &Scheme, headers: &[(String, String)]) -> Vec<String> {
    let mut flags = Vec::new();
    if let Some(name) = &scheme.id_header {
        flags.push(format!("-H \"{name}: $id\""));
    }
    let mut signature = format!("{}$signature", escape(&scheme.prefix));
    if let Some(element) = &scheme.element {
        signature = format!("{}={signature}", escape(element));
    }
    match &scheme.time {
        Some(TimeSource::Header(name)) => flags.push(format!("-H \"{name}: $now\"")),
        Some(TimeSource::Element(name)) => signature = format!("{}=$now,{signature}", escape(name)),
        None => {}
    }
    flags.extend(headers.iter().map(|(name, variable)| format!("-H \"{name}: ${variable}\"")));
    flags.push(format!("-H \"{}: {signature}\"", scheme.header));
    flags
}

/// `text` as one word of a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `text` inside double quotes of a shell.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_word_whatever_it_holds() {
        assert_eq!(quote("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(escape("a\"$(b)`\\"), "a\\\"\\$(b)\\`\\\\");
    }
}
