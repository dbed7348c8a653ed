//! What a change of a tool's text means: whether it could mislead who reads or calls it.

use nexus_core::Json;
use serde::{Deserialize, Serialize};

use crate::fingerprint::is_same;

/// What was found in the text of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The tool was not there before.
    New,
    /// Its title is another.
    Title,
    /// Its description is another.
    Description,
    /// What it takes is something else.
    InputSchema,
    /// What it gives is something else.
    OutputSchema,
    /// It takes more, and what is new may be left out.
    OptionalInput,
    /// It says that it is less dangerous than it said before.
    Annotations,
    /// Its icons are others.
    Icons,
    /// The page that it shows itself with is another.
    Ui,
    /// It has characters that people do not see and models read.
    HiddenCharacters,
    /// It speaks to the model as if it were somebody else.
    Directives,
}

/// What follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing that matters has changed.
    Same,
    /// The new text is as good as the old one.
    Take,
    /// The approved text stays; somebody should look at the new one.
    Keep(Vec<Finding>),
    /// The tool is hidden until somebody has looked at it.
    Hide(Vec<Finding>),
}

/// Compares what was approved with what is offered now.
pub(crate) fn compare(approved: &Json<'_>, now: &Json<'_>) -> Verdict {
    let is_other = |member: &str| !is_same(approved.get(member), now.get(member));
    let mut findings = Vec::new();
    for (member, finding) in [
        ("title", Finding::Title),
        ("description", Finding::Description),
        ("outputSchema", Finding::OutputSchema),
        ("icons", Finding::Icons),
    ] {
        if is_other(member) {
            findings.push(finding);
        }
    }
    if !is_same(ui(approved), ui(now)) {
        findings.push(Finding::Ui);
    }
    let annotations_differ = is_other("annotations");
    if annotations_differ && is_looser(approved.get("annotations"), now.get("annotations")) {
        findings.push(Finding::Annotations);
    }
    let input_differs = is_other("inputSchema");
    let only_adds = input_differs
        && only_adds_optional(
            approved.get("inputSchema"),
            now.get("inputSchema"),
            DEPTH_MAX,
        );
    if input_differs && !only_adds {
        findings.push(Finding::InputSchema);
    }
    if !findings.is_empty() {
        findings.extend(only_adds.then_some(Finding::OptionalInput));
        findings.extend(suspicious(now));
        Verdict::Hide(findings)
    } else if only_adds {
        // The approved text is shown: what is new in the other cannot mislead anybody.
        Verdict::Keep(vec![Finding::OptionalInput])
    } else if annotations_differ {
        Verdict::Take
    } else {
        Verdict::Same
    }
}

fn ui<'t, 'a>(tool: &'t Json<'a>) -> Option<&'t Json<'a>> {
    tool.get("_meta")?.get("ui")
}

/// Schemas are compared this deep; deeper changes count as changes.
const DEPTH_MAX: usize = 16;

/// Whether annotations promise more than before: what they leave out means the worst.
fn is_looser(before: Option<&Json<'_>>, now: Option<&Json<'_>>) -> bool {
    let promises = |annotations: Option<&Json<'_>>, member: &str, safe: bool| {
        annotations.and_then(|annotations| annotations.get(member)) == Some(&Json::Bool(safe))
    };
    let hints = [
        ("readOnlyHint", true),
        ("destructiveHint", false),
        ("idempotentHint", true),
        ("openWorldHint", false),
    ];
    let promises_more = hints
        .iter()
        .any(|(member, safe)| promises(now, member, *safe) && !promises(before, member, *safe));
    // Anything else in them is read by people and models.
    promises_more || {
        let known = |member: &str| hints.iter().any(|(hint, _)| *hint == member);
        let rest = |annotations: Option<&Json<'_>>| match annotations {
            Some(Json::Object(members)) => Json::Object(
                members
                    .iter()
                    .filter(|(member, _)| !known(member))
                    .map(|(member, value)| (member.to_string().into(), owned(value)))
                    .collect(),
            ),
            Some(other) => owned(other),
            None => Json::Object(Vec::new()),
        };
        !is_same(Some(&rest(before)), Some(&rest(now)))
    }
}

fn owned(value: &Json<'_>) -> Json<'static> {
    match value {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        Json::Number(value) => Json::Number(*value),
        Json::String(text) => Json::String(text.to_string().into()),
        Json::Array(items) => Json::Array(items.iter().map(owned).collect()),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.to_string().into(), owned(value)))
                .collect(),
        ),
    }
}

/// Whether a schema is another one and more properties that may be left out.
fn only_adds_optional(before: Option<&Json<'_>>, now: Option<&Json<'_>>, depth: usize) -> bool {
    let (Some(Json::Object(old)), Some(Json::Object(new))) = (before, now) else {
        return false;
    };
    if depth == 0 || old.len() > new.len() {
        return false;
    }
    let required = match now.and_then(|now| now.get("required")) {
        Some(Json::Array(names)) => names.as_slice(),
        _ => &[],
    };
    new.iter().all(|(member, value)| {
        let was = before.and_then(|before| before.get(member));
        if member != "properties" {
            return is_same(was, Some(value).filter(|value| **value != Json::Null));
        }
        let Json::Object(properties) = value else {
            return false;
        };
        let had = |name: &str| was.and_then(|was| was.get(name));
        let keeps_all = match was {
            Some(Json::Object(had)) => had.iter().all(|(name, _)| value.get(name).is_some()),
            None => true,
            Some(_) => false,
        };
        keeps_all
            && properties.iter().all(|(name, property)| match had(name) {
                Some(had) => {
                    is_same(Some(had), Some(property))
                        || only_adds_optional(Some(had), Some(property), depth - 1)
                }
                None => !required.iter().any(|one| one.as_str() == Some(name)),
            })
    }) && old
        .iter()
        .all(|(member, _)| new.iter().any(|(other, _)| other == member))
}

/// What in the text of a tool is there to be read by a model and not by people.
pub(crate) fn suspicious(tool: &Json<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    look(tool, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn look(value: &Json<'_>, found: &mut Vec<Finding>) {
    match value {
        Json::String(text) => {
            if text.chars().any(is_hidden) {
                found.push(Finding::HiddenCharacters);
            }
            if has_directive(text) {
                found.push(Finding::Directives);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| look(item, found)),
        Json::Object(members) => {
            for (name, value) in members {
                if name.chars().any(is_hidden) {
                    found.push(Finding::HiddenCharacters);
                }
                look(value, found);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Tags, marks of direction, characters without width, and the beginning of a terminal's commands. What joins
/// emoji is left: it is common.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{1b}'
        | '\u{ad}'
        | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text has marks that are there to be taken for somebody else's words.
fn has_directive(text: &str) -> bool {
    const MARKS: [&str; 8] = [
        "<important>",
        "<system>",
        "</system>",
        "<|im_start|>",
        "[system]",
        "<instructions>",
        "ignore previous instructions",
        "ignore all previous instructions",
    ];
    let text = text.to_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(approved: &str, now: &str) -> Verdict {
        let read = |text: &'static str| Json::parse(text.as_bytes()).unwrap();
        let (approved, now): (&'static str, &'static str) =
            (approved.to_owned().leak(), now.to_owned().leak());
        compare(&read(approved), &read(now))
    }

    const TOOL: &str = r#"{"name":"a","description":"Adds.","inputSchema":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]},"annotations":{"readOnlyHint":true}}"#;

    fn changed(from: &str, to: &str) -> Verdict {
        assert!(TOOL.contains(from), "{from}");
        compared(TOOL, &TOOL.replace(from, to))
    }

    #[test]
    fn what_is_the_same_in_meaning_is_the_same() {
        assert_eq!(compared(TOOL, TOOL), Verdict::Same);
        assert_eq!(changed("Adds.", "\\u0041dds."), Verdict::Same);
        assert_eq!(
            changed("\"name\":\"a\"", "\"extra\":1,\"name\":\"a\""),
            Verdict::Same
        );
    }

    #[test]
    fn what_is_read_may_not_change_unseen() {
        assert_eq!(
            changed("Adds.", "Deletes."),
            Verdict::Hide(vec![Finding::Description])
        );
        assert_eq!(
            changed("\"name\":\"a\"", "\"title\":\"A\",\"name\":\"a\""),
            Verdict::Hide(vec![Finding::Title])
        );
        assert_eq!(
            changed("Adds.", "<IMPORTANT>Adds.\u{202e}"),
            Verdict::Hide(vec![
                Finding::Description,
                Finding::HiddenCharacters,
                Finding::Directives
            ])
        );
    }

    #[test]
    fn promises_may_be_taken_back_but_not_made() {
        assert_eq!(
            changed("\"readOnlyHint\":true", "\"readOnlyHint\":false"),
            Verdict::Take
        );
        assert_eq!(changed("\"readOnlyHint\":true", ""), Verdict::Take);
        for more in [
            "\"readOnlyHint\":true,\"destructiveHint\":false",
            "\"readOnlyHint\":true,\"title\":\"Harmless\"",
        ] {
            assert_eq!(
                changed("\"readOnlyHint\":true", more),
                Verdict::Hide(vec![Finding::Annotations])
            );
        }
    }

    #[test]
    fn what_may_be_left_out_may_be_added_and_nothing_else() {
        let x = r#""x":{"type":"number"}"#;
        assert_eq!(
            changed(x, r#""x":{"type":"number"},"y":{"type":"string"}"#),
            Verdict::Keep(vec![Finding::OptionalInput])
        );
        let hidden = Verdict::Hide(vec![Finding::InputSchema]);
        assert_eq!(changed(x, r#""x":{"type":"string"}"#), hidden);
        assert_eq!(changed(x, ""), hidden);
        assert_eq!(changed(r#"["x"]"#, r#"["x","y"]"#), hidden);
        assert_eq!(changed(r#","required":["x"]"#, ""), hidden);
        let both = TOOL
            .replace(x, r#""x":{"type":"number"},"y":{"type":"string"}"#)
            .replace(r#"["x"]"#, r#"["x","y"]"#);
        assert_eq!(compared(TOOL, &both), hidden);
        let nested =
            r#"{"name":"a","inputSchema":{"properties":{"o":{"type":"object","properties":{}}}}}"#;
        let added = nested.replace("\"properties\":{}", "\"properties\":{\"p\":{}}");
        assert_eq!(
            compared(nested, &added),
            Verdict::Keep(vec![Finding::OptionalInput])
        );
    }

    #[test]
    fn hidden_text_is_found_wherever_it_is() {
        let found = |text: &str| suspicious(&Json::parse(text.as_bytes()).unwrap());
        assert_eq!(
            found(r#"{"a":[{"b":"x\u200by"}]}"#),
            [Finding::HiddenCharacters]
        );
        assert_eq!(found(r#"{"a\u202e":1}"#), [Finding::HiddenCharacters]);
        assert_eq!(
            found(r#"{"a":"\udb40\udc41"}"#),
            [Finding::HiddenCharacters]
        );
        assert_eq!(
            found(r#"{"a":"Ignore previous instructions and"}"#),
            [Finding::Directives]
        );
        assert_eq!(
            found("{\"a\":\"\u{1f468}\u{200d}\u{1f4bb} caf\u{e9}\"}"),
            []
        );
    }
}
