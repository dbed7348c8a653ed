//! The functions of a filter, and what each takes.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr},
};
use regex::RegexBuilder;

use super::{Kind, Lowered, Lowering};
use crate::{
    FilterError,
    filter::{
        FILTER_PATTERN_BYTES_MAX, FILTER_PATTERNS_MAX,
        node::{Conversion, Each, Find, Node, Pattern, Quantifier},
    },
};

/// A pattern's groups stand at most this deep in each other.
const PATTERN_DEPTH_MAX: u32 = 32;

/// How large a pattern may be when compiled, and what it is then charged for each byte of text: at worst the
/// time grows with both, some nanoseconds for each state and byte.
const PATTERN_STEPS: [(usize, u32); 4] = [
    (4 * 1024, 4),
    (16 * 1024, 16),
    (64 * 1024, 64),
    (FILTER_PATTERN_BYTES_MAX, 128),
];

const FUNCTIONS: &str = "has, size, startsWith, endsWith, contains, matches, lowerAscii, upperAscii, \
     string, double, int, timestamp, exists, all, exists_one, filter, map";

impl<'t> Lowering<'t> {
    pub(super) fn function(&mut self, expr: &'t IdedExpr, call: &'t CallExpr) -> Lowered {
        let target = call.target.as_deref();
        match (call.func_name.as_str(), target, call.args.as_slice()) {
            ("has", None, [member]) => self.has(member),
            ("size", Some(value), []) | ("size", None, [value]) => {
                Ok((Node::Size(self.boxed(value)?), Kind::Number))
            }
            ("startsWith", Some(text), [part]) => self.find(Find::AtStart, text, part),
            ("endsWith", Some(text), [part]) => self.find(Find::AtEnd, text, part),
            ("contains", Some(text), [part]) => self.find(Find::Anywhere, text, part),
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                let pattern = self.pattern(pattern)?;
                Ok((Node::Matches(self.text(text)?, pattern), Kind::Bool))
            }
            ("lowerAscii", Some(text), []) => {
                let text = self.text(text)?;
                Ok((Node::Convert(Conversion::Lower, text), Kind::Text))
            }
            ("upperAscii", Some(text), []) => {
                let text = self.text(text)?;
                Ok((Node::Convert(Conversion::Upper, text), Kind::Text))
            }
            ("string", None, [value]) => self.convert(Conversion::Text, value, Kind::Text),
            ("double", None, [value]) => self.convert(Conversion::Double, value, Kind::Number),
            ("int", None, [value]) => self.convert(Conversion::Int, value, Kind::Number),
            ("timestamp", None, [value]) => self.timestamp(value),
            (name, Some(list), arguments) => match (quantifier(name), arguments) {
                (Some(Quantifier::Map), [item, condition, result]) => self.each(
                    Quantifier::Map,
                    expr,
                    list,
                    item,
                    Some(condition),
                    Some(result),
                ),
                (Some(Quantifier::Map), [item, result]) => {
                    self.each(Quantifier::Map, expr, list, item, None, Some(result))
                }
                (Some(what), [item, condition]) if what != Quantifier::Map => {
                    self.each(what, expr, list, item, Some(condition), None)
                }
                _ => Err(self.no_function(expr, name)),
            },
            (name, None, _) => Err(self.no_function(expr, name)),
        }
    }

    fn no_function(&self, expr: &IdedExpr, name: &str) -> FilterError {
        let what = if FUNCTIONS.split([',', ' ']).any(|known| known == name) {
            format!("`{name}` is not called like this")
        } else {
            let name: String = name.chars().take(64).collect();
            format!("there is no function `{name}`; there are {FUNCTIONS}")
        };
        self.refuse(expr, what)
    }

    fn has(&mut self, member: &'t IdedExpr) -> Lowered {
        let is_place = match &member.expr {
            Expr::Select(_) | Expr::Ident(_) => true,
            Expr::Call(call) => call.func_name == cel::common::ast::operators::INDEX,
            _ => false,
        };
        if !is_place {
            return Err(self.refuse(member, "has() takes a member, as in has(payload.amount)"));
        }
        Ok((Node::IsPresent(self.boxed(member)?), Kind::Bool))
    }

    fn find(&mut self, how: Find, text: &'t IdedExpr, part: &'t IdedExpr) -> Lowered {
        let (text, part) = (self.text(text)?, self.text(part)?);
        Ok((Node::Find(how, text, part), Kind::Bool))
    }

    fn text(&mut self, expr: &'t IdedExpr) -> Result<Box<Node>, FilterError> {
        let (node, kind) = self.lower(expr)?;
        if matches!(kind, Kind::Any | Kind::Text) {
            return Ok(Box::new(node));
        }
        let what = format!("a text is wanted here, this is {}", kind.name());
        Err(self.refuse(expr, what))
    }

    fn convert(&mut self, conversion: Conversion, value: &'t IdedExpr, kind: Kind) -> Lowered {
        Ok((Node::Convert(conversion, self.boxed(value)?), kind))
    }

    fn timestamp(&mut self, value: &'t IdedExpr) -> Lowered {
        let (node, _) = self.lower(value)?;
        let node = match self.time_literal(value, node)? {
            time @ Node::Time(_) => time,
            other => Node::Convert(Conversion::Time, Box::new(other)),
        };
        Ok((node, Kind::Time))
    }

    /// A pattern is compiled here and never for an event, so it has to stand in the filter.
    fn pattern(&mut self, expr: &'t IdedExpr) -> Result<Pattern, FilterError> {
        let (Node::Text(pattern), _) = self.lower(expr)? else {
            return Err(self.refuse(expr, "the pattern of matches() has to be written as a text"));
        };
        self.patterns += 1;
        if self.patterns > FILTER_PATTERNS_MAX {
            let what = format!("a filter has at most {FILTER_PATTERNS_MAX} patterns");
            return Err(self.refuse(expr, what));
        }
        let mut told = String::new();
        for (bytes_max, steps_a_byte) in PATTERN_STEPS {
            let compiled = RegexBuilder::new(&pattern)
                .size_limit(bytes_max)
                .dfa_size_limit(FILTER_PATTERN_BYTES_MAX)
                .nest_limit(PATTERN_DEPTH_MAX)
                .build();
            match compiled {
                Ok(regex) => {
                    return Ok(Pattern {
                        regex,
                        steps_a_byte,
                    });
                }
                Err(error @ regex::Error::CompiledTooBig(_)) => told = error.to_string(),
                Err(error) => {
                    told = error.to_string();
                    break;
                }
            }
        }
        // What is wrong stands in the last line; those before it draw the place.
        let last = told.lines().last().unwrap_or_default();
        Err(self.refuse(expr, format!("this is no pattern that can be used: {last}")))
    }

    fn each(
        &mut self,
        what: Quantifier,
        expr: &'t IdedExpr,
        list: &'t IdedExpr,
        item: &'t IdedExpr,
        condition: Option<&'t IdedExpr>,
        result: Option<&'t IdedExpr>,
    ) -> Lowered {
        if self.item.is_some() {
            let what = "one look through a list cannot stand in another";
            return Err(self.refuse(expr, what));
        }
        let (list_node, kind) = self.lower(list)?;
        if !matches!(kind, Kind::Any | Kind::List) {
            let what = format!("a list is wanted here, this is {}", kind.name());
            return Err(self.refuse(list, what));
        }
        let Expr::Ident(name) = &item.expr else {
            return Err(self.refuse(item, "the item has to have a simple name"));
        };
        self.item = Some(name);
        let condition = condition
            .map(|condition| self.condition(condition))
            .transpose()?;
        let result = result.map(|result| self.value(result)).transpose()?;
        self.item = None;
        let kind = match what {
            Quantifier::All | Quantifier::Exists | Quantifier::ExistsOne => Kind::Bool,
            Quantifier::Filter | Quantifier::Map => Kind::List,
        };
        let each = Each {
            what,
            list: list_node,
            condition: condition.unwrap_or(Node::Bool(true)),
            result: result.unwrap_or(Node::Absent),
        };
        Ok((Node::Each(Box::new(each)), kind))
    }
}

fn quantifier(name: &str) -> Option<Quantifier> {
    Some(match name {
        "all" => Quantifier::All,
        "exists" => Quantifier::Exists,
        "exists_one" | "existsOne" => Quantifier::ExistsOne,
        "filter" => Quantifier::Filter,
        "map" => Quantifier::Map,
        _ => return None,
    })
}
