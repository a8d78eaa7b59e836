//! Numbers of things, as sentences have them.

/// `1 package`, `2 packages`.
pub fn number_of(number: impl TryInto<u64>, thing: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {thing}"),
        Ok(number) => format!("{number} {thing}s"),
        Err(_) => format!("many {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|number: u32| number_of(number, "line")), ["0 lines", "1 line", "2 lines"]);
        assert_eq!(number_of(-1_i64, "line"), "many lines");
    }
}
