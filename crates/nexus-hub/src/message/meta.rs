//! Changes single members of a message's parameters; the others keep the text that their sender wrote.

use nexus_core::{RawObject, write_json_string};
use serde_json::value::RawValue;

use super::Raw;

const META: &str = "_meta";
const TOKEN: &str = "progressToken";

/// Gives a request a progress token, in place of the one its sender gave. Gives back that one.
///
/// Parameters that are no object cannot have one and stay as they are.
pub(crate) fn with_token(params: Option<Raw>, token: i64) -> (Option<Raw>, Option<Raw>) {
    let Some(params) = params else {
        let params = format!(r#"{{"{META}":{{"{TOKEN}":{token}}}}}"#);
        return (RawValue::from_string(params).ok(), None);
    };
    let token = token.to_string();
    let replaced = object(&params).and_then(|outer| {
        let meta = outer.get(META);
        let inner = match meta {
            Some(meta) => RawObject::parse(meta.as_bytes()).ok()??,
            None => RawObject::default(),
        };
        let given = inner.get(TOKEN).map(str::to_owned);
        let meta = set(&inner, TOKEN, &token)?;
        Some((set(&outer, META, meta.get())?, given))
    });
    match replaced {
        Some((replaced, given)) => (Some(replaced), given.and_then(raw)),
        None => (Some(params), None),
    }
}

/// A request with a progress token that is text.
pub(crate) fn with_text_token(params: &RawValue, token: &str) -> Option<Raw> {
    let mut text = Vec::new();
    write_json_string(&mut text, token);
    with_meta(params, TOKEN, std::str::from_utf8(&text).ok()?)
}

/// The token that a request's sender gave it.
pub(crate) fn token_of(params: Option<&RawValue>) -> Option<Raw> {
    let outer = object(params?)?;
    let meta = RawObject::parse(outer.get(META)?.as_bytes()).ok()??;
    meta.get(TOKEN).map(str::to_owned).and_then(raw)
}

/// The number under which a progress notification is sent, if it is one of Nexus's.
pub(crate) fn progress_token(params: &RawValue) -> Option<i64> {
    object(params)?.get(TOKEN)?.parse().ok()
}

/// A progress notification under the token that the request's sender gave.
pub(crate) fn with_progress_token(params: &RawValue, token: &RawValue) -> Option<Raw> {
    set(&object(params)?, TOKEN, token.get())
}

/// An object with a member of its `_meta` set.
pub(crate) fn with_meta(object_text: &RawValue, name: &str, value: &str) -> Option<Raw> {
    let outer = object(object_text)?;
    let meta = match outer.get(META) {
        Some(meta) => RawObject::parse(meta.as_bytes()).ok()?.unwrap_or_default(),
        None => RawObject::default(),
    };
    set(&outer, META, set(&meta, name, value)?.get())
}

/// An object without one of its members.
pub(crate) fn without(object_text: &RawValue, name: &str) -> Option<Raw> {
    let mut out = vec![b'{'];
    let outer = object(object_text)?;
    for (member, text) in outer.members().filter(|(member, _)| *member != name) {
        write_member(&mut out, member, text);
    }
    out.push(b'}');
    raw(String::from_utf8(out).ok()?)
}

/// A member of the parameters that is text.
pub(crate) fn text_member(params: Option<&RawValue>, name: &str) -> Option<String> {
    let text = object(params?)?.text(name).ok()??;
    Some(text.into_owned())
}

/// The text of a member of the parameters, as it was written.
pub(crate) fn raw_member(params: Option<&RawValue>, name: &str) -> Option<String> {
    object(params?)?.get(name).map(str::to_owned)
}

fn object(params: &RawValue) -> Option<RawObject<'_>> {
    RawObject::parse(params.get().as_bytes()).ok()?
}

fn raw(text: String) -> Option<Raw> {
    RawValue::from_string(text).ok()
}

/// The object with one member set, in the place where it stood or at the end.
fn set(object: &RawObject<'_>, name: &str, value: &str) -> Option<Raw> {
    let mut out = Vec::with_capacity(64 + value.len());
    let mut is_set = false;
    out.push(b'{');
    for (member, text) in object.members() {
        let is_wanted = member == name;
        is_set |= is_wanted;
        write_member(&mut out, member, if is_wanted { value } else { text });
    }
    if !is_set {
        write_member(&mut out, name, value);
    }
    out.push(b'}');
    raw(String::from_utf8(out).ok()?)
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    if out.len() > 1 {
        out.push(b',');
    }
    write_json_string(out, name);
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Raw {
        raw(text.to_owned()).unwrap()
    }

    fn tokens(params: Option<&str>) -> (String, Option<String>) {
        let (params, given) = with_token(params.map(of), 5);
        let text = |raw: Raw| raw.get().to_owned();
        (params.map(text).unwrap(), given.map(text))
    }

    #[test]
    fn a_request_gets_a_token_and_keeps_everything_else() {
        let meta = r#"{"_meta":{"progressToken":5}}"#;
        assert_eq!(tokens(None), (meta.to_owned(), None));
        assert_eq!(tokens(Some("{}")), (meta.to_owned(), None));
        assert_eq!(tokens(Some(r#"{"_meta":null}"#)), (meta.to_owned(), None));
        let params =
            r#"{"name":"a","_meta":{"x/y":[1.50],"progressToken":"mine"},"arguments":{"n": 1e3}}"#;
        let expected =
            r#"{"name":"a","_meta":{"x/y":[1.50],"progressToken":5},"arguments":{"n": 1e3}}"#;
        let given = Some(r#""mine""#.to_owned());
        assert_eq!(tokens(Some(params)), (expected.to_owned(), given));
        assert_eq!(token_of(Some(&of(params))).unwrap().get(), r#""mine""#);
    }

    #[test]
    fn parameters_that_are_no_object_stay_as_they_are() {
        for params in ["[1, 2]", "7", r#"{"a":1,"a":2}"#, r#"{"_meta":[1]}"#] {
            assert_eq!(tokens(Some(params)), (params.to_owned(), None), "{params}");
        }
    }

    #[test]
    fn one_member_changes_and_all_others_stay() {
        let result = of(r#"{"n":1.50,"_meta":{"x/y":[ ]},"task":{"ttl":1}}"#);
        let tagged = with_meta(&result, "a/b", r#"{"c":1}"#).unwrap();
        let expected = r#"{"n":1.50,"_meta":{"x/y":[ ],"a/b":{"c":1}},"task":{"ttl":1}}"#;
        assert_eq!(tagged.get(), expected);
        let bare = with_meta(&of("{}"), "a", "1").unwrap();
        assert_eq!(bare.get(), r#"{"_meta":{"a":1}}"#);
        assert!(with_meta(&of("[]"), "a", "1").is_none());
        let without = without(&result, "task").unwrap();
        assert_eq!(without.get(), r#"{"n":1.50,"_meta":{"x/y":[ ]}}"#);
    }

    #[test]
    fn progress_is_told_under_the_token_of_who_asked() {
        let params = of(r#"{"progressToken":5,"progress":0.50,"message":"half"}"#);
        assert_eq!(progress_token(&params), Some(5));
        let told = with_progress_token(&params, &of(r#""mine""#)).unwrap();
        let expected = r#"{"progressToken":"mine","progress":0.50,"message":"half"}"#;
        assert_eq!(told.get(), expected);
        assert_eq!(progress_token(&of(r#"{"progressToken":"5"}"#)), None);
    }
}
