//! SQL as constants, written once per engine; where the tables stand and lists of columns are filled in once at start.

/// Declares `Statements`: one field for each statement, and `all`, so that a test can prepare every one of them.
macro_rules! statements {
    ($($name:ident: $sql:literal;)*) => {
        /// Every statement of this engine, ready to be sent.
        pub(super) struct Statements {
            $(pub(super) $name: std::sync::Arc<str>,)*
        }

        impl Statements {
            /// With each `{word}` of `words` replaced by what stands beside it.
            fn spelled(words: &[(&str, &str)]) -> Self {
                Self { $($name: $crate::store::statements::spell($sql, words),)* }
            }

            /// Names and texts.
            pub(super) fn all(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($name), self.$name.to_string()),)*]
            }
        }
    };
}

pub(super) use statements;

pub(super) fn spell(sql: &str, words: &[(&str, &str)]) -> std::sync::Arc<str> {
    let spelled = words
        .iter()
        .fold(sql.to_owned(), |sql, (word, text)| sql.replace(word, text));
    // A line break and its indentation are for the reader of the source only.
    spelled.split_ascii_whitespace().collect::<Vec<_>>().join(" ").into()
}
