//! Evaluates a compiled filter for one event, within a budget of steps.

use std::{cmp::Ordering, rc::Rc};

use nexus_core::{Catalogue, Event, iso8601};

use super::{
    FILTER_STEPS_MAX,
    node::{Comparison, Conversion, Each, Find, Node, Operator, Program, Quantifier, Variable},
    number::Number,
    tape::Place,
    value::{Value, items, read_time, weight},
    view::View,
};

/// What making a text costs, however short it is.
const MADE_STEPS: u32 = 4;

/// Whether the event meets the condition; not if finding out would cost more than the budget.
pub(super) fn is_true(program: &Program, view: View<'_>, catalogue: &Catalogue) -> bool {
    let mut run = Run {
        view,
        catalogue,
        item: Value::Absent,
        steps_left: FILTER_STEPS_MAX,
    };
    run.eval(&program.root).is_ok_and(|value| value.is_true())
}

/// The budget is spent.
struct Spent;

type Result<T> = std::result::Result<T, Spent>;

struct Run<'e> {
    view: View<'e>,
    catalogue: &'e Catalogue,
    /// What the comprehension that runs is looking at; only one runs at a time.
    item: Value<'e>,
    steps_left: u32,
}

impl<'e> Run<'e> {
    fn spend(&mut self, steps: u32) -> Result<()> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(Spent)?;
        Ok(())
    }

    /// A value of the payload. A text is looked at to know that it is one.
    fn see(&mut self, place: Place) -> Result<Value<'e>> {
        let value = Value::of(self.view.at(place));
        self.spend(value.weight())?;
        Ok(value)
    }

    fn eval(&mut self, node: &'e Node) -> Result<Value<'e>> {
        self.spend(1)?;
        Ok(match node {
            Node::Absent => Value::Absent,
            Node::Bool(value) => Value::Bool(*value),
            Node::Number(number) => Value::Number(*number),
            Node::Text(text) => Value::Text(text),
            Node::Time(time_us) => Value::Time(*time_us),
            Node::Variable(variable) => {
                let value = self.variable(*variable);
                if matches!(value, Value::Made(_)) {
                    self.spend(MADE_STEPS)?;
                }
                value
            }
            Node::Item => self.item.clone(),
            Node::Member(object, name) => {
                let object = self.eval(object)?;
                self.member(&object, name)?
            }
            Node::Index(list, index) => {
                let (list, index) = (self.eval(list)?, self.eval(index)?);
                self.index(&list, &index)?
            }
            Node::List(nodes) => {
                let values: Result<Vec<_>> = nodes.iter().map(|node| self.eval(node)).collect();
                Value::List(values?.into())
            }
            Node::Not(condition) => Value::Bool(!self.eval(condition)?.is_true()),
            Node::And(a, b) => Value::Bool(self.eval(a)?.is_true() && self.eval(b)?.is_true()),
            Node::Or(a, b) => Value::Bool(self.eval(a)?.is_true() || self.eval(b)?.is_true()),
            Node::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.eval(condition)?.is_true() {
                    then
                } else {
                    otherwise
                };
                self.eval(chosen)?
            }
            Node::IsPresent(value) => Value::Bool(!self.eval(value)?.is_absent()),
            Node::Compare(comparison, a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                Value::Bool(self.compare(*comparison, &a, &b)?)
            }
            Node::In(value, list) => {
                let value = self.eval(value)?;
                Value::Bool(self.is_in(&value, list)?)
            }
            Node::Negate(value) => match self.eval(value)? {
                Value::Number(number) => Value::of_number(number.negated()),
                _ => Value::Absent,
            },
            Node::Calculate(operator, a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                self.calculate(*operator, &a, &b)?
            }
            Node::Size(value) => {
                let value = self.eval(value)?;
                self.size(&value)?
            }
            Node::Find(how, text, part) => {
                let (text, part) = (self.eval(text)?, self.eval(part)?);
                self.spend(text.weight())?;
                Value::Bool(is_found(*how, &text, &part))
            }
            Node::Matches(text, pattern) => {
                let text = self.eval(text)?;
                let Some(text) = text.text() else {
                    return Ok(Value::Bool(false));
                };
                let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
                self.spend(bytes.saturating_mul(pattern.steps_a_byte))?;
                Value::Bool(pattern.regex.is_match(text))
            }
            Node::Convert(conversion, value) => {
                let value = self.eval(value)?;
                self.spend(MADE_STEPS + value.weight())?;
                convert(*conversion, &value)
            }
            Node::Each(each) => self.each(each)?,
        })
    }

    fn variable(&self, variable: Variable) -> Value<'e> {
        let event: &'e Event = self.view.event;
        let causes = self.view.causes();
        match variable {
            Variable::Id => Value::made(event.id.to_string()),
            Variable::Topic => Value::Text(event.topic.as_str()),
            Variable::Name => match self.catalogue.get(&event.topic) {
                Some(event_type) => Value::Text(&event_type.name),
                None => Value::made(event.topic.as_str().to_uppercase().replace('.', "_")),
            },
            Variable::Source => Value::Text(event.source.as_str()),
            Variable::Key => Value::of_text(event.key.as_deref()),
            Variable::Seq => Value::Number(Number::Int(event.seq.get().into())),
            Variable::Time => Value::Time(event.time_us),
            Variable::Payload => Value::of(self.view.at(Place::ROOT)),
            Variable::CorrelationId => causes
                .correlation_id
                .map_or(Value::Absent, |id| Value::made(id.to_string())),
            Variable::CausationId => causes
                .causation_id
                .map_or(Value::Absent, |id| Value::made(id.to_string())),
            Variable::OriginId => Value::of_text(causes.origin_id.as_deref()),
            Variable::OccurredAt => Value::of_text(causes.occurred_at.as_deref()),
        }
    }

    fn member(&mut self, object: &Value<'e>, name: &str) -> Result<Value<'e>> {
        let Value::Object(place) = object else {
            return Ok(Value::Absent);
        };
        let found = self.find(*place, name, 4)?;
        found.map_or(Ok(Value::Absent), |place| self.see(place))
    }

    /// A member of an object of the payload; so many short names are compared in a step, and a long one may
    /// have to be read against each that is as long.
    fn find(&mut self, object: Place, name: &str, names_a_step: u32) -> Result<Option<Place>> {
        let (found, looked_at) = self.view.member(object, name);
        self.spend(looked_at.saturating_mul(1 + weight(name)) / names_a_step)?;
        Ok(found)
    }

    fn index(&mut self, list: &Value<'e>, index: &Value<'e>) -> Result<Value<'e>> {
        if let (Value::Object(_), Some(name)) = (list, index.text()) {
            return self.member(list, name);
        }
        let Value::Number(index) = index else {
            return Ok(Value::Absent);
        };
        let whole = index
            .truncated()
            .filter(|whole| Number::Int(*whole).order(*index) == Some(Ordering::Equal));
        let Some(at) = whole.and_then(|whole| u32::try_from(whole).ok()) else {
            return Ok(Value::Absent);
        };
        match list {
            Value::Array(place) => {
                let tape = self.view.tape();
                if at >= tape.size(*place) {
                    return Ok(Value::Absent);
                }
                self.spend(at / 4)?;
                let item = tape.items(*place).nth(at as usize);
                item.map_or(Ok(Value::Absent), |place| self.see(place))
            }
            Value::List(items) => Ok(items.get(at as usize).cloned().unwrap_or(Value::Absent)),
            _ => Ok(Value::Absent),
        }
    }

    fn compare(&mut self, comparison: Comparison, a: &Value<'e>, b: &Value<'e>) -> Result<bool> {
        if a.is_absent() || b.is_absent() {
            return Ok(false);
        }
        if matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Ok(self.is_equal(a, b)? == (comparison == Comparison::Equal));
        }
        self.spend(a.weight().min(b.weight()))?;
        let Some(order) = a.order(b) else {
            return Ok(false);
        };
        Ok(match comparison {
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Equal | Comparison::NotEqual => order.is_eq(),
        })
    }

    /// Equality by value. Recurses as deep as a payload is, which is bounded.
    fn is_equal(&mut self, a: &Value<'e>, b: &Value<'e>) -> Result<bool> {
        self.spend(1 + a.weight().saturating_add(b.weight()))?;
        match (a, b) {
            (Value::Absent, Value::Absent) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Object(a), Value::Object(b)) => self.are_equal_objects(*a, *b),
            (Value::Array(_) | Value::List(_), Value::Array(_) | Value::List(_)) => {
                let (Some(mut a), Some(mut b)) = (items(self.view, a), items(self.view, b)) else {
                    return Ok(false);
                };
                loop {
                    match (a.next(), b.next()) {
                        (Some(a), Some(b)) if self.is_equal(&a, &b)? => {}
                        (None, None) => return Ok(true),
                        _ => return Ok(false),
                    }
                }
            }
            _ => Ok(a.order(b) == Some(Ordering::Equal)),
        }
    }

    fn are_equal_objects(&mut self, a: Place, b: Place) -> Result<bool> {
        let tape = self.view.tape();
        if tape.size(a) != tape.size(b) {
            return Ok(false);
        }
        for (name, value) in tape.members(a) {
            let name = Value::of(self.view.at(name));
            let Some(other) = self.find(b, name.text().unwrap_or_default(), 1)? else {
                return Ok(false);
            };
            let (value, other) = (self.view.at(value), self.view.at(other));
            if !self.is_equal(&Value::of(value), &Value::of(other))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_in(&mut self, value: &Value<'e>, list: &'e Node) -> Result<bool> {
        // A list that stands in the filter is not built for each event.
        if let Node::List(nodes) = list {
            for node in nodes {
                let item = self.eval(node)?;
                if self.compare(Comparison::Equal, value, &item)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let list = self.eval(list)?;
        if let (Value::Object(place), Some(name)) = (&list, value.text()) {
            let found = self.find(*place, name, 1)?;
            let value = found.map_or(Ok(Value::Absent), |place| self.see(place))?;
            return Ok(!value.is_absent());
        }
        let Some(items) = items(self.view, &list) else {
            return Ok(false);
        };
        for item in items {
            if self.compare(Comparison::Equal, value, &item)? {
                return Ok(true);
            }
            self.spend(1)?;
        }
        Ok(false)
    }

    fn calculate(&mut self, operator: Operator, a: &Value<'e>, b: &Value<'e>) -> Result<Value<'e>> {
        if let (Operator::Add, Some(a_text), Some(b_text)) = (operator, a.text(), b.text()) {
            self.spend(a.weight().saturating_add(b.weight()))?;
            return Ok(Value::made([a_text, b_text].concat()));
        }
        // A text counts as the number that it stands for only where the other side is one.
        let is_number = matches!(a, Value::Number(_)) || matches!(b, Value::Number(_));
        Ok(match (is_number, a.number(), b.number()) {
            (true, Some(a), Some(b)) => Value::of_number(a.calculate(operator, b)),
            (false, Some(a), Some(b)) if operator != Operator::Add => {
                Value::of_number(a.calculate(operator, b))
            }
            _ => Value::Absent,
        })
    }

    fn size(&mut self, value: &Value<'e>) -> Result<Value<'e>> {
        self.spend(value.weight())?;
        let size = match value {
            Value::Array(place) | Value::Object(place) => self.view.tape().size(*place) as usize,
            Value::List(items) => items.len(),
            _ => match value.text() {
                Some(text) => text.chars().count(),
                None => return Ok(Value::Absent),
            },
        };
        Ok(Value::Number(Number::Int(size as i128)))
    }

    fn each(&mut self, each: &'e Each) -> Result<Value<'e>> {
        let list = self.eval(&each.list)?;
        let Some(items) = items(self.view, &list) else {
            return Ok(Value::Absent);
        };
        let mut matching: u32 = 0;
        let mut kept = Vec::new();
        let mut outcome = None;
        for item in items {
            self.spend(item.weight())?;
            self.item = item;
            let is_match = self.eval(&each.condition)?.is_true();
            matching += u32::from(is_match);
            match each.what {
                Quantifier::All if !is_match => outcome = Some(false),
                Quantifier::Exists if is_match => outcome = Some(true),
                Quantifier::ExistsOne if matching > 1 => outcome = Some(false),
                Quantifier::Filter if is_match => kept.push(self.item.clone()),
                Quantifier::Map if is_match => kept.push(self.eval(&each.result)?),
                _ => {}
            }
            if outcome.is_some() {
                break;
            }
        }
        self.item = Value::Absent;
        Ok(match each.what {
            Quantifier::All => Value::Bool(outcome.unwrap_or(true)),
            Quantifier::Exists => Value::Bool(outcome.unwrap_or(false)),
            Quantifier::ExistsOne => Value::Bool(outcome.unwrap_or(matching == 1)),
            Quantifier::Filter | Quantifier::Map => Value::List(Rc::from(kept)),
        })
    }
}

fn is_found(how: Find, text: &Value<'_>, part: &Value<'_>) -> bool {
    let (Some(text), Some(part)) = (text.text(), part.text()) else {
        return false;
    };
    match how {
        Find::AtStart => text.starts_with(part),
        Find::AtEnd => text.ends_with(part),
        Find::Anywhere => text.contains(part),
    }
}

fn convert<'e>(conversion: Conversion, value: &Value<'e>) -> Value<'e> {
    let made = match (conversion, value) {
        (Conversion::Lower, _) => value
            .text()
            .map(|text| Value::made(text.to_ascii_lowercase())),
        (Conversion::Upper, _) => value
            .text()
            .map(|text| Value::made(text.to_ascii_uppercase())),
        (Conversion::Text, Value::Bool(value)) => Some(Value::made(value.to_string())),
        (Conversion::Text, Value::Number(Number::Int(number))) => {
            Some(Value::made(number.to_string()))
        }
        (Conversion::Text, Value::Number(Number::Double(number))) => {
            Some(Value::made(number.to_string()))
        }
        (Conversion::Text, Value::Time(time_us)) => Some(Value::made(iso8601(*time_us))),
        (Conversion::Text, Value::Text(_) | Value::Made(_)) => Some(value.clone()),
        (Conversion::Double, _) => value.number().map(Value::Number),
        (Conversion::Int, _) => value
            .number()
            .and_then(Number::truncated)
            .map(|whole| Value::Number(Number::Int(whole))),
        (Conversion::Time, Value::Time(time_us)) => Some(Value::Time(*time_us)),
        (Conversion::Time, _) => value.text().and_then(read_time).map(Value::Time),
        (Conversion::Text, _) => None,
    };
    made.unwrap_or(Value::Absent)
}
