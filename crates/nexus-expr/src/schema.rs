//! JSON Schemas, compiled once, that payloads are checked against.

use std::{fmt, sync::Arc};

use jsonschema::{PatternOptions, ValidationError, Validator};
use nexus_core::{PayloadProblem, SchemaCheck};
use serde_json::Value;

use crate::Error;

/// A payload's problems are told up to this many.
pub const PROBLEMS_MAX: usize = 16;
/// Of a payload above this many bytes only the first problem is looked for: finding all of them takes
/// memory that grows with the payload.
pub const ALL_PROBLEMS_BYTES_MAX: usize = 16 * 1024;
/// A problem is described in at most this many characters.
const DETAIL_CHARS_MAX: usize = 200;

/// A JSON Schema of a payload: drafts 4 to 2020-12, by its `$schema`, else 2020-12.
///
/// Nothing is ever fetched: a `$ref` leads to a place in the schema itself or to a published meta-schema.
/// `format` is checked. Regular expressions have no look-around and no back-references, so that none takes
/// more than linear time.
#[derive(Clone)]
pub struct Schema(Arc<Validator>);

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`Error::Schema`] when it is none, or refers to what is not in it.
    pub fn compile(schema: &Value) -> Result<Self, Error> {
        jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(|validator| Self(Arc::new(validator)))
            .map_err(|error| Error::Schema {
                pointer: error.instance_path().to_string(),
                source: Box::new(error),
            })
    }

    /// What is wrong with a payload, given as text; nothing when it fits. Values of the payload are not
    /// repeated in what is said about them.
    #[must_use]
    pub fn check(&self, payload: &[u8]) -> Vec<PayloadProblem> {
        let Ok(value) = serde_json::from_slice::<Value>(payload) else {
            return vec![PayloadProblem {
                pointer: String::new(),
                detail: "must be JSON".to_owned(),
            }];
        };
        if payload.len() > ALL_PROBLEMS_BYTES_MAX {
            let first = self.0.validate(&value).err();
            return first.iter().map(problem).collect();
        }
        let errors = self.0.iter_errors(&value);
        errors
            .take(PROBLEMS_MAX)
            .map(|error| problem(&error))
            .collect()
    }

    /// The schema as the catalogue of events takes it.
    #[must_use]
    pub fn into_check(self) -> SchemaCheck {
        Arc::new(move |payload| self.check(payload))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

fn problem(error: &ValidationError<'_>) -> PayloadProblem {
    let text = error.masked_with("this").to_string();
    let mut detail: String = text.chars().take(DETAIL_CHARS_MAX).collect();
    if detail.len() < text.len() {
        detail.push('…');
    }
    PayloadProblem {
        pointer: error.instance_path().to_string(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workout() -> Schema {
        Schema::compile(&json!({
            "type": "object",
            "required": ["athleteId"],
            "properties": {
                "athleteId": {"type": "string", "minLength": 1},
                "rounds": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "email": {"type": "string", "format": "email"},
                "code": {"type": "string", "pattern": "^[a-z]+$"},
                "a/b~c": {"type": "string"},
                "nested": {"$ref": "#/$defs/nested"},
            },
            "$defs": {"nested": {"type": "object", "additionalProperties": false}},
        }))
        .unwrap()
    }

    fn pointers(payload: &Value) -> Vec<String> {
        let problems = workout().check(payload.to_string().as_bytes());
        problems
            .into_iter()
            .map(|problem| problem.pointer)
            .collect()
    }

    #[test]
    fn what_fits_has_no_problems() {
        for payload in [
            json!({"athleteId": "a-1"}),
            json!({"athleteId": "a", "rounds": [1, 2], "email": "a@b.example", "other": null}),
            json!({"athleteId": "a", "code": "abc", "nested": {}}),
        ] {
            assert_eq!(pointers(&payload), Vec::<String>::new(), "{payload}");
        }
    }

    #[test]
    fn problems_are_told_by_their_place() {
        for (payload, expected) in [
            (json!({}), &[""][..]),
            (json!([]), &[""]),
            (json!({"athleteId": ""}), &["/athleteId"]),
            (
                json!({"athleteId": 7, "code": "A"}),
                &["/athleteId", "/code"],
            ),
            (
                json!({"athleteId": "a", "rounds": [1, -1, 0.5]}),
                &["/rounds/1", "/rounds/2"],
            ),
            (json!({"athleteId": "a", "email": "nobody"}), &["/email"]),
            (json!({"athleteId": "a", "a/b~c": 1}), &["/a~1b~0c"]),
            (json!({"athleteId": "a", "nested": {"x": 1}}), &["/nested"]),
        ] {
            let mut found = pointers(&payload);
            found.sort();
            assert_eq!(found, expected, "{payload}");
        }
    }

    #[test]
    fn values_are_not_repeated_and_details_are_short() {
        let schema = Schema::compile(&json!({"additionalProperties": false, "properties": {
            "pin": {"type": "number"},
        }}))
        .unwrap();
        let problems = schema.check(br#"{"pin":"hunter2"}"#);
        assert_eq!(problems[0].pointer, "/pin");
        assert!(problems[0].detail.contains("number"), "{problems:?}");
        assert!(!problems[0].detail.contains("hunter2"), "{problems:?}");
        let problems = schema.check(json!({"n".repeat(5000): 1}).to_string().as_bytes());
        assert!(problems[0].detail.chars().count() <= DETAIL_CHARS_MAX + 1);
    }

    #[test]
    fn many_problems_are_bounded() {
        let rounds = |count: usize| json!({"athleteId": "a", "rounds": vec!["x"; count]});
        assert_eq!(pointers(&rounds(15)).len(), 15);
        assert_eq!(pointers(&rounds(1000)).len(), PROBLEMS_MAX);
        let large = rounds(50_000);
        assert!(large.to_string().len() > ALL_PROBLEMS_BYTES_MAX);
        assert_eq!(pointers(&large), ["/rounds/0"]);
    }

    #[test]
    fn what_is_no_json_is_a_problem_and_no_panic() {
        for payload in [&b""[..], b"{", b"\xff", b"{}x"] {
            assert_eq!(workout().check(payload)[0].detail, "must be JSON");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused() {
        for schema in [
            json!({"type": "nonsense"}),
            json!({"minLength": -1}),
            json!({"pattern": "("}),
            // Needs more than linear time.
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": r"(a)\1"}),
            json!({"$ref": "#/$defs/missing"}),
            json!({"$schema": "https://schemas.example/none"}),
            json!("text"),
            json!(7),
        ] {
            let refused = Schema::compile(&schema);
            assert!(matches!(refused, Err(Error::Schema { .. })), "{schema}");
        }
    }

    /// A reference that was followed would arrive at the listener, or read the file.
    #[test]
    fn references_are_never_fetched() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = std::env::temp_dir().join(format!("nexus-expr-{}.json", std::process::id()));
        std::fs::write(&file, r#"{"type":"object"}"#).unwrap();
        for reference in [
            format!("http://127.0.0.1:{port}/schema.json"),
            format!("https://127.0.0.1:{port}/schema.json"),
            format!("file://{}", file.display()),
            file.display().to_string(),
        ] {
            assert!(
                Schema::compile(&json!({"$ref": reference})).is_err(),
                "{reference}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        let accepted = listener.accept().map(|(_, from)| from);
        assert_eq!(accepted.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_declared_event_is_checked_by_its_schema() {
        use nexus_core::{Catalogue, DeclaredEvent, Json, Topic};

        let declared = DeclaredEvent {
            topic: Topic::parse("workout.completed").unwrap(),
            name: None,
            owner: None,
            key: crate::PayloadPath::parse("payload.athleteId")
                .unwrap()
                .into_names(),
            schema: Some(workout().into_check()),
        };
        let catalogue = Catalogue::new(vec![declared], false).unwrap();
        let event_type = catalogue.resolve("WORKOUT_COMPLETED").unwrap().event_type;
        let text = br#"{"athleteId":"a-7","rounds":["x"]}"#;
        let payload = Json::parse(text).unwrap();
        assert_eq!(event_type.key_of(&payload).as_deref(), Some("a-7"));
        assert_eq!(event_type.check(&payload, text)[0].pointer, "/rounds/0");
    }
}
