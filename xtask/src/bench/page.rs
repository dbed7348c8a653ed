//! Tables that a run writes into the page about performance itself, so that nobody copies figures by hand.

use std::{fs, path::Path};

use crate::error::{Error, Result};

const PAGE: &str = "docs/performance.md";

/// Puts a table between the marks of a benchmark; nothing happens where the page has none.
pub(crate) fn write(root: &Path, benchmark: &str, table: &str) -> Result<()> {
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    if let Some(page) = replaced(&page, benchmark, table) {
        fs::write(&path, page).map_err(|source| Error::write(&path, source))?;
        println!("written to {}", path.display());
    }
    Ok(())
}

/// The page with another table.
fn replaced(page: &str, benchmark: &str, table: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- bench: {benchmark} -->\n"),
        format!("<!-- end of bench: {benchmark} -->"),
    );
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "# Page\n<!-- bench: a -->\nold\n<!-- end of bench: a -->\nmore\n";
        let expected = "# Page\n<!-- bench: a -->\n| new |\n<!-- end of bench: a -->\nmore\n";
        assert_eq!(replaced(page, "a", "| new |\n").as_deref(), Some(expected));
        assert_eq!(replaced(page, "b", "| new |\n"), None);
    }
}
