//! What a filter is compiled to: a small tree whose names are resolved and whose patterns are compiled.

use regex::Regex;

use super::number::Number;

/// A compiled filter.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Node,
    pub(super) reads: Reads,
}

/// What has to be parsed before the filter can be evaluated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    pub(super) payload: bool,
    pub(super) causes: bool,
}

/// A member of an event that a filter can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Id,
    Topic,
    Name,
    Source,
    Key,
    Seq,
    Time,
    Payload,
    CorrelationId,
    CausationId,
    OriginId,
    OccurredAt,
}

impl Variable {
    /// Every variable by its name, in the order in which an event is written.
    pub(super) const ALL: [(&'static str, Self); 12] = [
        ("id", Self::Id),
        ("topic", Self::Topic),
        ("name", Self::Name),
        ("source", Self::Source),
        ("key", Self::Key),
        ("seq", Self::Seq),
        ("time", Self::Time),
        ("payload", Self::Payload),
        ("correlation_id", Self::CorrelationId),
        ("causation_id", Self::CausationId),
        ("origin_id", Self::OriginId),
        ("occurred_at", Self::OccurredAt),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, variable)| *variable)
    }
}

/// One step of the evaluation.
#[derive(Debug)]
pub(super) enum Node {
    /// `null`, and what can have no value.
    Absent,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    /// Microseconds since 1970.
    Time(i64),
    Variable(Variable),
    /// The item of the list that is being looked through.
    Item,
    Member(Box<Node>, Box<str>),
    Index(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Choose(Box<[Node; 3]>),
    IsPresent(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Negate(Box<Node>),
    Calculate(Operator, Box<Node>, Box<Node>),
    Size(Box<Node>),
    Find(Find, Box<Node>, Box<Node>),
    Matches(Box<Node>, Pattern),
    Convert(Conversion, Box<Node>),
    Each(Box<Each>),
}

/// A regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// What each byte that it looks at may cost.
    pub(super) steps_a_byte: u32,
}

/// A call that looks at every item of a list.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) what: Quantifier,
    pub(super) list: Node,
    /// Which items count.
    pub(super) condition: Node,
    /// What `map` makes of them.
    pub(super) result: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How one text is looked for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Find {
    AtStart,
    AtEnd,
    Anywhere,
}

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    Lower,
    Upper,
    Text,
    Double,
    Int,
    Time,
}
