//! What a tool is for and how long it takes: said by an operator, by its server, or guessed from its name.

use std::{collections::BTreeSet, sync::Arc};

use nexus_core::Json;
use serde::{Deserialize, Serialize};

/// What a tool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// It finds things.
    Search,
    /// It works on code.
    Code,
    /// It makes other things act.
    Automation,
    /// It reads or keeps data.
    Data,
    /// Anything else.
    Other,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] = [
        Self::Search,
        Self::Code,
        Self::Automation,
        Self::Data,
        Self::Other,
    ];

    /// The category as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Code => "code",
            Self::Automation => "automation",
            Self::Data => "data",
            Self::Other => "other",
        }
    }

    /// Reads a category; nothing if there is none of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// How long a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EstimatedDuration {
    /// A moment.
    Fast,
    /// Some seconds.
    Medium,
    /// So long that it is better followed as a job.
    Slow,
}

/// A tool's priority is between these; the higher comes first where there is no room for all.
pub const PRIORITY_MIN: u8 = 1;
/// See [`PRIORITY_MIN`].
pub const PRIORITY_MAX: u8 = 10;
/// The priority of a tool of which nobody says one.
pub const PRIORITY_DEFAULT: u8 = 5;
/// A tool has at most this many tags.
pub const TAGS_MAX: usize = 16;
/// A tag has at most this many characters.
pub const TAG_CHARS_MAX: usize = 32;

/// What is known of a tool beside what its server says to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// What it is for.
    pub category: Category,
    /// From [`PRIORITY_MIN`] to [`PRIORITY_MAX`].
    pub priority: u8,
    /// Words to find it by.
    pub tags: BTreeSet<Arc<str>>,
    /// How long a call takes.
    pub estimated_duration: EstimatedDuration,
}

/// What an operator says of a tool; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct Overrides {
    /// What it is for.
    pub category: Option<Category>,
    /// From [`PRIORITY_MIN`] to [`PRIORITY_MAX`]; what lies outside is brought inside.
    pub priority: Option<u8>,
    /// Words to find it by, beside those that the server gives.
    pub tags: BTreeSet<Arc<str>>,
    /// How long a call takes.
    pub estimated_duration: Option<EstimatedDuration>,
    /// Whether it may not be used at all.
    pub disabled: bool,
}

impl Overrides {
    /// The same, with what `nearer` says in its place.
    #[must_use]
    pub fn and(&self, nearer: &Self) -> Self {
        Self {
            category: nearer.category.or(self.category),
            priority: nearer.priority.or(self.priority),
            tags: self.tags.union(&nearer.tags).cloned().collect(),
            estimated_duration: nearer.estimated_duration.or(self.estimated_duration),
            disabled: self.disabled || nearer.disabled,
        }
    }
}

/// The words in a tool's name that say what it is for.
const WORDS: [(&str, Category); 28] = [
    ("search", Category::Search),
    ("find", Category::Search),
    ("lookup", Category::Search),
    ("query", Category::Search),
    ("browse", Category::Search),
    ("code", Category::Code),
    ("commit", Category::Code),
    ("branch", Category::Code),
    ("pull", Category::Code),
    ("repository", Category::Code),
    ("repo", Category::Code),
    ("issue", Category::Code),
    ("merge", Category::Code),
    ("navigate", Category::Automation),
    ("click", Category::Automation),
    ("browser", Category::Automation),
    ("screenshot", Category::Automation),
    ("run", Category::Automation),
    ("execute", Category::Automation),
    ("deploy", Category::Automation),
    ("send", Category::Automation),
    ("read", Category::Data),
    ("write", Category::Data),
    ("list", Category::Data),
    ("get", Category::Data),
    ("fetch", Category::Data),
    ("create", Category::Data),
    ("delete", Category::Data),
];

impl Metadata {
    /// What is known of a tool: by what the server says in its `_meta` and annotations, else by its name; and
    /// what an operator says above all.
    #[must_use]
    pub fn of(name: &str, tool: &Json<'_>, overrides: &Overrides) -> Self {
        let meta = tool.get("_meta");
        let said = |member| meta.and_then(|meta| meta.get(member));
        let text = |member| said(member).and_then(Json::as_str);
        let category = text("category").and_then(Category::parse);
        let duration = match text("estimatedDuration") {
            Some("fast") => Some(EstimatedDuration::Fast),
            Some("medium") => Some(EstimatedDuration::Medium),
            Some("slow") => Some(EstimatedDuration::Slow),
            _ => None,
        };
        let priority = said("priority").and_then(whole_number);
        let mut tags = overrides.tags.clone();
        if let Some(Json::Array(items)) = said("tags") {
            tags.extend(items.iter().filter_map(Json::as_str).filter_map(tag));
        }
        tags = tags.into_iter().take(TAGS_MAX).collect();
        let priority = overrides.priority.or(priority).unwrap_or(PRIORITY_DEFAULT);
        Self {
            category: overrides
                .category
                .or(category)
                .unwrap_or_else(|| guess(name)),
            priority: priority.clamp(PRIORITY_MIN, PRIORITY_MAX),
            tags,
            estimated_duration: overrides
                .estimated_duration
                .or(duration)
                .unwrap_or_else(|| usual_duration(tool)),
        }
    }
}

fn tag(text: &str) -> Option<Arc<str>> {
    let is_good =
        (1..=TAG_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_good.then(|| text.to_lowercase().into())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and 10"
)]
fn whole_number(value: &Json<'_>) -> Option<u8> {
    match value {
        Json::Number(number) if (1.0..=10.0).contains(number) => Some(*number as u8),
        _ => None,
    }
}

/// By the first word of the name that says something.
fn guess(name: &str) -> Category {
    words(name)
        .find_map(|word| {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            known.map(|(_, category)| *category)
        })
        .unwrap_or(Category::Other)
}

/// The words of a name in lower case, however they are put together: `browser_navigate`, `getFile`.
pub(crate) fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
    }
    words.into_iter().filter(|word| !word.is_empty())
}

/// A tool that says it wants to be followed as a task is slow; one that reads and stays inside is fast.
fn usual_duration(tool: &Json<'_>) -> EstimatedDuration {
    let task = tool
        .get("execution")
        .and_then(|execution| execution.get("taskSupport"))
        .and_then(Json::as_str);
    if task == Some("required") {
        return EstimatedDuration::Slow;
    }
    let hint = |name| {
        let annotations = tool.get("annotations");
        annotations.and_then(|annotations| annotations.get(name))
    };
    if hint("readOnlyHint") == Some(&Json::Bool(true))
        && hint("openWorldHint") == Some(&Json::Bool(false))
    {
        EstimatedDuration::Fast
    } else {
        EstimatedDuration::Medium
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, tool: &str, overrides: &Overrides) -> Metadata {
        Metadata::of(name, &Json::parse(tool.as_bytes()).unwrap(), overrides)
    }

    #[test]
    fn names_say_what_a_tool_is_for() {
        for (name, category) in [
            ("brave_web_search", Category::Search),
            ("browser_navigate", Category::Automation),
            ("readFile", Category::Data),
            ("create-pull-request", Category::Data),
            ("echo", Category::Other),
            ("", Category::Other),
        ] {
            let metadata = of(name, "{}", &Overrides::default());
            assert_eq!(metadata.category, category, "{name}");
            assert_eq!(metadata.priority, PRIORITY_DEFAULT);
            assert_eq!(metadata.estimated_duration, EstimatedDuration::Medium);
        }
    }

    #[test]
    fn a_server_says_more_than_a_name_and_an_operator_more_than_a_server() {
        let tool = r#"{"annotations":{"readOnlyHint":true,"openWorldHint":false},
            "_meta":{"category":"code","priority":9,"tags":["Rust","",7],"estimatedDuration":"slow"}}"#;
        let said = of("search", tool, &Overrides::default());
        assert_eq!(said.category, Category::Code);
        assert_eq!(said.priority, 9);
        assert_eq!(said.tags, BTreeSet::from(["rust".into()]));
        assert_eq!(said.estimated_duration, EstimatedDuration::Slow);
        let overrides = Overrides {
            category: Some(Category::Data),
            priority: Some(200),
            tags: BTreeSet::from(["mine".into()]),
            estimated_duration: Some(EstimatedDuration::Fast),
            disabled: false,
        };
        let over = of("search", tool, &overrides);
        assert_eq!(over.category, Category::Data);
        assert_eq!(over.priority, PRIORITY_MAX);
        assert_eq!(over.tags.len(), 2);
        assert_eq!(over.estimated_duration, EstimatedDuration::Fast);
    }

    #[test]
    fn hints_say_how_long_it_takes() {
        let hints = r#"{"annotations":{"readOnlyHint":true,"openWorldHint":false}}"#;
        let task = r#"{"execution":{"taskSupport":"required"}}"#;
        let duration = |tool| of("x", tool, &Overrides::default()).estimated_duration;
        assert_eq!(duration(hints), EstimatedDuration::Fast);
        assert_eq!(duration(task), EstimatedDuration::Slow);
    }
}
