//! Filters: CEL conditions over an event, compiled once.
//!
//! The grammar is CEL's, read by the `cel` crate. The meaning is given here and not by that crate's
//! interpreter, because a filter has to hold what CEL does not promise: a member that is missing makes a
//! comparison false where CEL raises an error that ends the whole expression; `payload.n * 1.5` works for
//! whole numbers too; an amount that its sender wrote as a decimal string compares as a number; unknown
//! names are refused when the filter is made; and the time that one event may take is bounded. An own
//! evaluator also reads the payload where it lies: it is looked at once for each event, however many
//! filters ask.
//!
//! `docs/filters.md` describes the language for those who write filters.

mod evaluate;
mod lower;
mod nesting;
mod node;
mod number;
mod tape;
mod value;
mod view;

use std::sync::{Arc, LazyLock};

use cel::Env;
use nexus_core::{Catalogue, Filter};

use crate::FilterError;

/// A filter is at most this many bytes long.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;
/// Parentheses, calls, operators and choices stand at most this deep in each other.
pub const FILTER_DEPTH_MAX: usize = 32;
/// What one evaluation may cost: about one for each operator, item of a list and 16 bytes of text that
/// it looks at. A filter that would cost more is false for that event.
pub const FILTER_STEPS_MAX: u32 = 100_000;
/// A pattern of `matches` is compiled to at most this many bytes.
pub const FILTER_PATTERN_BYTES_MAX: usize = 256 * 1024;
/// A filter has at most this many patterns: a short text can stand for a large one.
pub const FILTER_PATTERNS_MAX: usize = 8;

/// Enough for the parser to come to the end of what it tells of one mistake.
const RECOVERIES_MAX: u32 = 4;

/// Compiles a filter; `name` in it is the name of a known event, or the default one of any other topic.
///
/// ```
/// # use nexus_expr::compile_filter;
/// let filter = compile_filter(r#"payload.amount > 100 && source.startsWith("node:")"#)?;
/// assert_eq!(filter.text(), r#"payload.amount > 100 && source.startsWith("node:")"#);
///
/// let refused = compile_filter("payload.amount > 100 &&\n  sauce == 'node:flowpay'").unwrap_err();
/// assert_eq!((refused.line, refused.column), (2, 3));
/// # Ok::<(), nexus_expr::FilterError>(())
/// ```
///
/// # Errors
/// [`FilterError`], with the place in the text.
pub fn compile_filter(text: &str) -> Result<Filter, FilterError> {
    static KNOWN: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::known()));
    compile_filter_with(text, &KNOWN)
}

/// Compiles a filter in which `name` is what this catalogue calls an event.
///
/// # Errors
/// [`FilterError`], with the place in the text.
pub fn compile_filter_with(text: &str, catalogue: &Arc<Catalogue>) -> Result<Filter, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(FilterError::at_start(format!(
            "a filter is at most {FILTER_BYTES_MAX} bytes long"
        )));
    }
    // The parser recurses, so what it gets has to be shallow.
    nesting::check(text)?;
    // No macros: `exists` and its like are to stay calls, as their author wrote them.
    let parser = Env::default()
        .with_optional_support(false)
        .parser()
        .max_recursion_depth(2 * FILTER_DEPTH_MAX as u16)
        .error_recovery_limit(RECOVERIES_MAX);
    let (parsed, places) = parser
        .parse_with_source_info(text)
        .map_err(|errors| FilterError::of_parser(&errors))?;
    let program = lower::lower(text, &parsed, &places, catalogue)?;
    let catalogue = Arc::clone(catalogue);
    Ok(Filter::new(text, move |event| {
        view::with(event, program.reads, |view| {
            evaluate::is_true(&program, view, &catalogue)
        })
    }))
}
