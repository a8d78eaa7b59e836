//! Tables as spreadsheets write them (RFC 4180), read row by row.

/// A row with the line that it begins on, counted from 1.
pub type Row = (usize, Vec<String>);

/// Why a table cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: a quote opens a cell here and is never closed")]
pub struct Unclosed {
    /// Where it opens.
    pub line: usize,
}

/// The rows of a table; blank ones are passed over. What stands between cells (a comma, a semicolon or a tab) is what the
/// first line has most of.
///
/// ```
/// let rows = dripfeed::model::csv::rows("name;Room\r\nws042;\"B;12\"\r\n")?;
/// assert_eq!(rows, [(1, vec!["name".into(), "Room".into()]), (2, vec!["ws042".into(), "B;12".into()])]);
/// # Ok::<(), dripfeed::model::csv::Unclosed>(())
/// ```
pub fn rows(text: &str) -> Result<Vec<Row>, Unclosed> {
    // Spreadsheets write this mark, and ours is written for them.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let separator = separator(text.lines().next().unwrap_or_default());
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut opened) = (1, 1, None);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if opened.is_some() => {
                if characters.next_if_eq(&'"').is_some() {
                    cell.push('"');
                } else {
                    opened = None;
                }
            }
            _ if opened.is_some() => cell.push(c),
            '"' if cell.is_empty() => opened = Some(line),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                end(&mut rows, begun, std::mem::take(&mut row));
                begun = line;
            }
            c if c == separator => row.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    if let Some(line) = opened {
        return Err(Unclosed { line });
    }
    row.push(cell);
    end(&mut rows, begun, row);
    Ok(rows)
}

fn end(rows: &mut Vec<Row>, line: usize, row: Vec<String>) {
    if row.iter().any(|cell| !cell.trim().is_empty()) {
        rows.push((line, row));
    }
}

fn separator(first: &str) -> char {
    let count = |separator| first.matches(separator).count();
    // The last of those that are as frequent wins, so that a comma does where there is but one column.
    ['\t', ';', ','].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(',')
}

/// What a cell says: a list that was written by this server has an apostrophe before what a spreadsheet would calculate.
pub fn unprotected(cell: &str) -> &str {
    let cell = cell.trim();
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        rows(text).expect("a table").into_iter().map(|(_, row)| row).collect()
    }

    #[test]
    fn rows_have_their_line_and_blank_ones_are_none() {
        let rows = rows("\u{feff}a,b\n\n\"x\ny\",\"say \"\"hi\"\"\"\r\n ,\nlast,").expect("a table");
        let lines: Vec<usize> = rows.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 6]);
        assert_eq!(rows[1].1, ["x\ny", "say \"hi\""]);
        assert_eq!(rows[2].1, ["last", ""]);
        assert!(cells("").is_empty() && cells("\n \n").is_empty());
    }

    #[test]
    fn what_stands_between_cells_is_seen_in_the_first_line() {
        assert_eq!(cells("a;b;c\n1;2,3;4")[1], ["1", "2,3", "4"]);
        assert_eq!(cells("a\tb\n1\t2")[1], ["1", "2"]);
        assert_eq!(cells("a\nb,c")[1], ["b", "c"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_with_its_line() {
        assert_eq!(rows("a,b\nc,\"d\n"), Err(Unclosed { line: 2 }));
        assert_eq!(cells("a,b\"c\"")[0], ["a", "b\"c\""]);
    }

    #[test]
    fn what_was_protected_from_spreadsheets_is_itself_again() {
        for (cell, value) in [("'=1+1", "=1+1"), ("'-7", "-7"), ("'n Sync", "'n Sync"), (" x ", "x"), ("", "")] {
            assert_eq!(unprotected(cell), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_quotes_reads_back(table in prop::collection::vec(prop::collection::vec("[a-c,;\"\n\r ]{0,5}", 2..3), 1..5)) {
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let text: String = std::iter::once("x,y".to_owned())
                .chain(table.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",")))
                .map(|line| line + "\r\n")
                .collect();
            let kept: Vec<_> = table.into_iter().filter(|row| row.iter().any(|cell| !cell.trim().is_empty())).collect();
            prop_assert_eq!(&cells(&text)[1..], &kept[..]);
        }
    }
}
