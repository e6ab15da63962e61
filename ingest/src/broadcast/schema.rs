//! What a partner has agreed that its items look like: a JSON Schema, compiled once.
//!
//! Nothing is fetched: a `$ref` to anywhere but the schema itself is refused when it is read.
//! Patterns are matched in linear time, so that no text a partner sends takes for ever; what only a
//! backtracking engine can match (look-around, back-references) is refused as well.

use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::limits::{
    ITEM_ERRORS_MAX, SCHEMA_BYTES_MAX, SCHEMA_ECHO_BYTES_MAX, SCHEMA_PATTERN_BYTES_MAX,
};
use crate::problem::ItemError;

/// A compiled schema.
pub struct Schema {
    text: Box<[u8]>,
    validator: Validator,
}

impl Schema {
    /// Compiles `text`: draft 2020-12 unless its `$schema` names another. The error is a sentence.
    pub fn compile(text: &[u8]) -> Result<Self, String> {
        if text.len() as u64 > SCHEMA_BYTES_MAX {
            return Err(format!("is larger than {SCHEMA_BYTES_MAX} bytes"));
        }
        let schema: Value =
            serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
        let patterns = PatternOptions::regex()
            .size_limit(SCHEMA_PATTERN_BYTES_MAX)
            .dfa_size_limit(SCHEMA_PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| format!("is no schema: {}", short(&error.to_string())))?;
        Ok(Self { text: text.into(), validator })
    }

    /// What is wrong with `item`, the first few things.
    pub(super) fn check(&self, index: usize, item: &Value) -> Vec<ItemError> {
        if self.validator.is_valid(item) {
            return Vec::new();
        }
        let error = |error: jsonschema::ValidationError<'_>| ItemError {
            index,
            field: short(error.instance_path().as_str()),
            reason: "schema",
            // What was sent is not repeated: it may be long, and is the partner's own.
            detail: short(&error.masked().to_string()).into(),
        };
        self.validator.iter_errors(item).take(ITEM_ERRORS_MAX).map(error).collect()
    }
}

/// A schema is its text.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} bytes)", self.text.len())
    }
}

fn short(text: &str) -> String {
    let end = text.floor_char_boundary(SCHEMA_ECHO_BYTES_MAX);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(schema: Value) -> Schema {
        Schema::compile(schema.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place_and_never_repeated() {
        let schema = schema(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "required": ["id"],
            "properties": {
                "data": {"properties": {"minute": {"type": "integer", "maximum": 130},
                    "at": {"format": "date-time"}, "code": {"pattern": "^[A-Z]{3}$"}}},
            },
        }));
        assert!(schema.check(0, &json!({"id": 1, "data": {"minute": 7}})).is_empty());
        let bad = json!({"data": {"minute": "secret", "at": "noon", "code": "secret"}});
        let errors = schema.check(3, &bad);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        for field in ["", "/data/minute", "/data/at", "/data/code"] {
            assert!(fields.contains(&field), "{fields:?}");
        }
        for error in &errors {
            assert_eq!((error.index, error.reason), (3, "schema"));
            assert!(!error.detail.contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn errors_are_bounded_in_number_and_length() {
        let name = "n".repeat(500);
        let strict = schema(json!({"additionalProperties": {"type": "string"}}));
        let many: serde_json::Map<_, _> =
            (0..50).map(|n| (format!("{name}{n}"), json!(n))).collect();
        let errors = strict.check(0, &Value::Object(many));
        assert_eq!(errors.len(), ITEM_ERRORS_MAX);
        for error in errors {
            assert!(error.field.len() <= SCHEMA_ECHO_BYTES_MAX, "{error:?}");
            assert!(error.detail.len() <= SCHEMA_ECHO_BYTES_MAX, "{error:?}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_used_says_why_and_nothing_is_fetched() {
        let long = format!("\"{}\"", "x".repeat(SCHEMA_BYTES_MAX as usize));
        for (text, want) in [
            ("{", "is not JSON"),
            (r#"{"type":"strnig"}"#, "is no schema"),
            (r#"{"$ref":"http://127.0.0.1:1/x.json"}"#, "is no schema"),
            (r#"{"$ref":"file:///etc/hostname"}"#, "is no schema"),
            (r#"{"pattern":"(a)\\1"}"#, "is no schema"),
            (r#"{"pattern":"((a{1000}){1000}){1000}"}"#, "is no schema"),
            (&long, "is larger than"),
        ] {
            let error = Schema::compile(text.as_bytes()).expect_err(text);
            assert!(error.starts_with(want), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let tree = schema(json!({"properties": {"next": {"$ref": "#"}}, "type": "object"}));
        assert!(tree.check(0, &json!({"next": {"next": {}}})).is_empty());
        assert_eq!(tree.check(0, &json!({"next": {"next": 1}}))[0].field, "/next/next");
        let circle = schema(json!({"$ref": "#"}));
        let _ = circle.check(0, &json!({}));
    }
}
