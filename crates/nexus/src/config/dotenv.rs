//! A small reader of `.env` files: `NAME=value` lines, comments, quotes.

use super::problem::Problems;

/// The variables of a `.env` file, in order; a line that is none of them is a problem.
///
/// `'…'` is taken as written; in `"…"` the sequences `\n`, `\"` and `\\` are understood; without quotes a
/// ` #` begins a comment. `export ` before the name is allowed. Nothing is substituted.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match variable(line) {
            Ok(variable) => variables.push(variable),
            Err(what) => problems.add(format!(".env:{}", index + 1), what),
        }
    }
    variables
}

fn variable(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line
        .split_once('=')
        .ok_or("this is not NAME=value, and not a comment")?;
    let name = name.trim();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("the name is not made of letters, digits and _");
    }
    Ok((name.to_owned(), unquote(value.trim())?))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    const OPEN: &str = "the quote is not closed";
    const MORE: &str = "something stands behind the closing quote";
    if let Some(rest) = value.strip_prefix('\'') {
        let (inside, behind) = rest.split_once('\'').ok_or(OPEN)?;
        return is_comment(behind).then(|| inside.to_owned()).ok_or(MORE);
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return Ok(value[..end].trim_end().to_owned());
    };
    let mut inside = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next().ok_or(OPEN)? {
            '"' => break,
            '\\' => match letters.next().ok_or(OPEN)? {
                'n' => inside.push('\n'),
                letter @ ('"' | '\\') => inside.push(letter),
                letter => inside.extend(['\\', letter]),
            },
            letter => inside.push(letter),
        }
    }
    is_comment(letters.as_str()).then_some(inside).ok_or(MORE)
}

fn is_comment(behind: &str) -> bool {
    let behind = behind.trim_start();
    behind.is_empty() || behind.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values_quotes_and_comments() {
        let text = "# a comment\n\nA=1\nexport B = two words # said\nC='as # is'\nD=\"x\\\"y\\n\" # e\nE=\nF=a#b\n";
        let mut problems = Problems::default();
        let read = parse(text, &mut problems);
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            read,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "as # is"),
                ("D", "x\"y\n"),
                ("E", ""),
                ("F", "a#b")
            ]
        );
        assert!(problems.into_vec().is_empty());
    }

    #[test]
    fn tells_each_line_that_is_wrong() {
        let mut problems = Problems::default();
        parse("A\nB-C=1\nD='x\nE=\"x\" y\n", &mut problems);
        let places: Vec<_> = problems.into_vec().into_iter().map(|p| p.place).collect();
        assert_eq!(places, [".env:1", ".env:2", ".env:3", ".env:4"]);
    }
}
