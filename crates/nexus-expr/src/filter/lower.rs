//! From the syntax tree of `cel` to the tree that is evaluated: names resolved, patterns compiled,
//! everything refused that could not mean anything.

mod functions;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators},
};
use nexus_core::{Catalogue, NameForm};

use super::{
    FILTER_DEPTH_MAX, nesting,
    node::{Comparison, Node, Operator, Program, Reads, Variable},
    number::Number,
    value::read_time,
};
use crate::FilterError;

/// Compiles the tree of a filter.
pub(super) fn lower(
    text: &str,
    parsed: &IdedExpr,
    places: &SourceInfo,
    catalogue: &Catalogue,
) -> Result<Program, FilterError> {
    let mut lowering = Lowering {
        text,
        places,
        catalogue,
        reads: Reads::default(),
        item: None,
        patterns: 0,
        depth: 0,
    };
    let root = lowering.condition(parsed)?;
    Ok(Program {
        root,
        reads: lowering.reads,
    })
}

/// What a value is known to be before there is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Anything: it comes out of the payload.
    Any,
    Bool,
    Number,
    Text,
    Time,
    List,
    Null,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Bool => "a condition",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Time => "a time",
            Self::List => "a list",
            Self::Null => "null",
        }
    }
}

type Lowered = Result<(Node, Kind), FilterError>;

struct Lowering<'t> {
    text: &'t str,
    places: &'t SourceInfo,
    catalogue: &'t Catalogue,
    reads: Reads,
    /// The name of the item, inside of `exists` and its like.
    item: Option<&'t str>,
    /// How many patterns were compiled.
    patterns: usize,
    depth: usize,
}

impl<'t> Lowering<'t> {
    fn refuse(&self, at: &IdedExpr, message: impl AsRef<str>) -> FilterError {
        let place = self
            .places
            .offset_for(at.id)
            .map_or(0, |(start, _)| start as usize);
        let place = match &at.expr {
            // The parser keeps where the parenthesis of a call is, and where the dot of a member is.
            Expr::Call(call) => self.name_before(place, &call.func_name),
            Expr::Select(_) => place + 1,
            _ => place,
        };
        FilterError::new(self.text, place, message.as_ref())
    }

    /// Where the name of a call begins whose parenthesis is at `place`; an operator is where it is.
    fn name_before(&self, place: usize, name: &str) -> usize {
        let before = self.text.get(..place).unwrap_or_default();
        match before.trim_end().strip_suffix(name) {
            Some(rest) => rest.len(),
            None => place,
        }
    }

    fn condition(&mut self, expr: &'t IdedExpr) -> Result<Node, FilterError> {
        let (node, kind) = self.lower(expr)?;
        match kind {
            Kind::Any | Kind::Bool => Ok(node),
            other => Err(self.refuse(
                expr,
                format!("a condition is wanted here, this is {}", other.name()),
            )),
        }
    }

    fn value(&mut self, expr: &'t IdedExpr) -> Result<Node, FilterError> {
        self.lower(expr).map(|(node, _)| node)
    }

    fn boxed(&mut self, expr: &'t IdedExpr) -> Result<Box<Node>, FilterError> {
        self.value(expr).map(Box::new)
    }

    fn lower(&mut self, expr: &'t IdedExpr) -> Lowered {
        if self.depth == FILTER_DEPTH_MAX {
            return Err(self.refuse(expr, nesting::too_deep()));
        }
        self.depth += 1;
        let lowered = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Select(select) => {
                let (object, kind) = self.lower(&select.operand)?;
                if kind != Kind::Any {
                    let what = format!("{} has no members; `payload` has", kind.name());
                    return Err(self.refuse(expr, what));
                }
                let name = select.field.as_str().into();
                Ok((Node::Member(Box::new(object), name), Kind::Any))
            }
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                let items: Result<Vec<_>, _> =
                    list.elements.iter().map(|item| self.value(item)).collect();
                Ok((Node::List(items?), Kind::List))
            }
            Expr::Map(_) | Expr::Struct(_) => {
                Err(self.refuse(expr, "an object cannot be written in a filter"))
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(self.refuse(expr, "this cannot be used in a filter"))
            }
        };
        self.depth -= 1;
        lowered
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Lowered {
        Ok(match literal {
            LiteralValue::Boolean(value) => (Node::Bool(*value.inner()), Kind::Bool),
            LiteralValue::Int(number) => (
                Node::Number(Number::Int((*number.inner()).into())),
                Kind::Number,
            ),
            LiteralValue::UInt(number) => (
                Node::Number(Number::Int((*number.inner()).into())),
                Kind::Number,
            ),
            LiteralValue::Double(number) => {
                (Node::Number(Number::Double(*number.inner())), Kind::Number)
            }
            LiteralValue::String(text) => (Node::Text(text.inner().into()), Kind::Text),
            LiteralValue::Null => (Node::Absent, Kind::Null),
            LiteralValue::Bytes(_) => {
                return Err(self.refuse(expr, "an event holds no bytes; write a text"));
            }
        })
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Lowered {
        if self.item == Some(name) {
            return Ok((Node::Item, Kind::Any));
        }
        let Some(variable) = Variable::named(name) else {
            let known: Vec<_> = Variable::ALL.iter().map(|(name, _)| *name).collect();
            let name: String = name.chars().take(64).collect();
            let what = format!("there is no `{name}`; there are {}", known.join(", "));
            return Err(self.refuse(expr, what));
        };
        let kind = match variable {
            Variable::Payload => Kind::Any,
            Variable::Seq => Kind::Number,
            Variable::Time => Kind::Time,
            _ => Kind::Text,
        };
        self.reads.payload |= variable == Variable::Payload;
        self.reads.causes |= matches!(
            variable,
            Variable::CorrelationId
                | Variable::CausationId
                | Variable::OriginId
                | Variable::OccurredAt
        );
        Ok((Node::Variable(variable), kind))
    }

    fn call(&mut self, expr: &'t IdedExpr, call: &'t CallExpr) -> Lowered {
        if call.target.is_some() {
            return self.function(expr, call);
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => {
                let (a, b) = (self.condition(a)?, self.condition(b)?);
                Ok((Node::And(Box::new(a), Box::new(b)), Kind::Bool))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                let (a, b) = (self.condition(a)?, self.condition(b)?);
                Ok((Node::Or(Box::new(a), Box::new(b)), Kind::Bool))
            }
            (operators::LOGICAL_NOT, [a]) => {
                let condition = self.condition(a)?;
                Ok((Node::Not(Box::new(condition)), Kind::Bool))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = self.condition(condition)?;
                let (then, kind) = self.lower(then)?;
                let (otherwise, other) = self.lower(otherwise)?;
                let kind = if kind == other { kind } else { Kind::Any };
                Ok((Node::Choose(Box::new([condition, then, otherwise])), kind))
            }
            (operators::NEGATE, [a]) => Ok((Node::Negate(self.boxed(a)?), Kind::Number)),
            (operators::INDEX, [list, index]) => Ok((
                Node::Index(self.boxed(list)?, self.boxed(index)?),
                Kind::Any,
            )),
            (operators::IN, [value, list]) => {
                let (value, mut list) = (self.boxed(value)?, self.boxed(list)?);
                if let Node::List(items) = &mut *list {
                    items
                        .iter_mut()
                        .for_each(|item| self.call_alike(&value, item));
                }
                Ok((Node::In(value, list), Kind::Bool))
            }
            (name, [a, b]) => {
                if let Some(comparison) = comparison(name) {
                    return self.comparison(comparison, a, b);
                }
                if let Some(operator) = operator(name) {
                    return self.calculation(operator, a, b);
                }
                self.function(expr, call)
            }
            _ => self.function(expr, call),
        }
    }

    fn comparison(&mut self, comparison: Comparison, a: &'t IdedExpr, b: &'t IdedExpr) -> Lowered {
        let (mut left, left_kind) = self.lower(a)?;
        let (mut right, right_kind) = self.lower(b)?;
        let compared = match (left_kind, right_kind) {
            // `x == null` asks whether there is an x; nothing else has to do with null.
            (Kind::Null, _) | (_, Kind::Null) => {
                let present = if left_kind == Kind::Null { right } else { left };
                let present = Node::IsPresent(Box::new(present));
                match comparison {
                    Comparison::NotEqual => return Ok((present, Kind::Bool)),
                    Comparison::Equal => {
                        return Ok((Node::Not(Box::new(present)), Kind::Bool));
                    }
                    _ => return Err(self.refuse(b, "null is neither less nor greater")),
                }
            }
            (Kind::Time, _) => {
                right = self.time_literal(b, right)?;
                (left, right)
            }
            (_, Kind::Time) => {
                left = self.time_literal(a, left)?;
                (left, right)
            }
            _ => {
                if matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
                    self.call_alike(&left, &mut right);
                    self.call_alike(&right, &mut left);
                }
                (left, right)
            }
        };
        let (left, right) = (Box::new(compared.0), Box::new(compared.1));
        Ok((Node::Compare(comparison, left, right), Kind::Bool))
    }

    /// An event may be called by any of its names: where a topic or a name is compared with another name of
    /// the same event, that is put in its place.
    fn call_alike(&self, asked: &Node, text: &mut Node) {
        let form = match asked {
            Node::Variable(Variable::Topic) => NameForm::Topic,
            Node::Variable(Variable::Name) => NameForm::Name,
            _ => return,
        };
        if let Node::Text(name) = text
            && let Ok(named) = self.catalogue.resolve(name)
        {
            *text = Node::Text(named.event_type.name_in(form).into());
        }
    }

    /// A text that a time is compared with is read once; one that is no time is a mistake.
    fn time_literal(&self, expr: &IdedExpr, node: Node) -> Result<Node, FilterError> {
        let Node::Text(text) = &node else {
            return Ok(node);
        };
        match read_time(text) {
            Some(time_us) => Ok(Node::Time(time_us)),
            None => Err(self.refuse(expr, "write a time as \"2026-11-21T06:00:00Z\"")),
        }
    }

    fn calculation(&mut self, operator: Operator, a: &'t IdedExpr, b: &'t IdedExpr) -> Lowered {
        let (left, left_kind) = self.lower(a)?;
        let (right, right_kind) = self.lower(b)?;
        for (expr, kind) in [(a, left_kind), (b, right_kind)] {
            if !matches!(kind, Kind::Any | Kind::Number | Kind::Text) {
                let what = format!("nothing can be computed with {}", kind.name());
                return Err(self.refuse(expr, what));
            }
        }
        let kind = match (operator, left_kind, right_kind) {
            (Operator::Add, Kind::Text, Kind::Text) => Kind::Text,
            (Operator::Add, Kind::Any | Kind::Text, Kind::Any | Kind::Text) => Kind::Any,
            _ => Kind::Number,
        };
        let node = Node::Calculate(operator, Box::new(left), Box::new(right));
        Ok((node, kind))
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}
