//! Whether the script still fits: how many of its patterns name a function of what was built.
//!
//! A pattern that names nothing does no harm. But the function that it stood for has another name now, and is put
//! with those that are seldom run.

use std::{collections::BTreeMap, fmt, fs, ops::Bound, path::Path, process::Command};

use crate::{
    error::{Error, Result},
    layout::{SCRIPT, compiler, names},
    process::stdout_of,
};

/// Less is out of date, in percent. Some of what `dist` keeps apart is part of its callers in `release`, and the
/// other way round: a fourteenth when it was recorded.
const NAMED_PERCENT_MIN: usize = 80;

/// Of how many patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    named: usize,
    patterns: usize,
}

impl fmt::Display for Fit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { named, patterns } = self;
        write!(
            out,
            "layout: {named} of {patterns} patterns of {SCRIPT} name a function of nexusd"
        )
    }
}

impl Fit {
    /// How the script fits a binary.
    pub(crate) fn of(root: &Path, binary: &Path) -> Result<Self> {
        let table = stdout_of(Command::new("nm").arg("--print-size").arg(binary))?;
        let symbols = names::symbols(&String::from_utf8_lossy(&table));
        Ok(Self::between(&read(root)?, &symbols))
    }

    fn between(script: &str, symbols: &BTreeMap<String, u64>) -> Self {
        let patterns: Vec<&str> = script.lines().filter_map(pattern).collect();
        let is_named = |pattern: &&&str| {
            let first = pattern.split('*').next().unwrap_or_default();
            symbols
                .range::<str, _>((Bound::Included(first), Bound::Unbounded))
                .take_while(|(name, _)| name.starts_with(first))
                .any(|(name, _)| stands_for(pattern, name))
        };
        Self {
            named: patterns.iter().filter(is_named).count(),
            patterns: patterns.len(),
        }
    }

    fn is_out_of_date(self) -> bool {
        self.named * 100 < self.patterns * NAMED_PERCENT_MIN
    }
}

/// Fails if the script fits no longer. Another compiler may name things otherwise: then it is only said.
pub(crate) fn check(root: &Path, binary: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("layout: other systems link without {SCRIPT}");
        return Ok(());
    }
    let fit = Fit::of(root, binary)?;
    println!("{fit}");
    if !fit.is_out_of_date() {
        return Ok(());
    }
    let compiler = compiler()?;
    if read(root)?.contains(&compiler) {
        return Err(Error::Stale {
            what: SCRIPT,
            why: "few of its functions are there: `cargo xtask layout` records them anew",
        });
    }
    println!("it was recorded with another compiler than {compiler}: an idle daemon may hold more");
    Ok(())
}

fn read(root: &Path) -> Result<String> {
    let path = root.join(SCRIPT);
    fs::read_to_string(&path).map_err(|source| Error::read(&path, source))
}

/// The pattern of a line; `None` for one about files, or about none.
fn pattern(line: &str) -> Option<&str> {
    line.trim().strip_prefix("*(.text.")?.split(' ').next()
}

/// Whether a name is what a pattern stands for: `*` is any text.
fn stands_for(pattern: &str, name: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
    for part in middle.split('*') {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::script;

    fn fit(patterns: &[&str], names: &[&str]) -> Fit {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let symbols = names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        Fit::between(&script("rustc 1", &patterns), &symbols)
    }

    #[test]
    fn patterns_that_name_something_are_counted() {
        let names = ["_ZN5nexus6config4load17h01E", "main", "_RNvCs1_5alloc3vec"];
        let fit = fit(
            &[
                "_ZN5nexus6config*",
                "_ZN5nexus5gone17h*",
                "_RNvCs*_5alloc3vec*",
                "main",
            ],
            &names,
        );
        assert_eq!((fit.named, fit.patterns), (3, 4));
    }

    #[test]
    fn a_pattern_stands_for_what_has_its_parts_in_order() {
        assert!(stands_for("_RCs*_4core*", "_RCsabc_4core3fmt"));
        assert!(stands_for("a*b*c", "a-b-b-c"));
        assert!(!stands_for("a*b*c", "a-c-b"));
        assert!(!stands_for("a*bc*c", "a-bc"));
        assert!(!stands_for("a", "ab"));
    }

    #[test]
    fn a_script_of_which_a_fourteenth_is_gone_fits_and_one_of_which_a_third_is_gone_does_not() {
        let fit = |named| Fit {
            named,
            patterns: 1_115,
        };
        assert!(!fit(1_034).is_out_of_date());
        assert!(fit(781).is_out_of_date());
    }
}
