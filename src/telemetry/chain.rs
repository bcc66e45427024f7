use std::error::Error;
use std::fmt;

/// An error with what caused it, as one line for the log: `what failed: why: why that`. A cause whose words the line has
/// already is left out.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !line.contains(&words) {
                line.push_str(": ");
                line.push_str(&words);
            }
            next = cause.source();
        }
        out.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Because(&'static str, #[source] Option<Box<Because>>);

    #[test]
    fn a_line_tells_every_cause_once() {
        let root = Because("disk full", None);
        let driver = Because("the driver said disk full", Some(Box::new(root)));
        let top = Because("not stored", Some(Box::new(driver)));
        assert_eq!(Chain(&top).to_string(), "not stored: the driver said disk full");
        let (root, top) = (Because("b", None), "a\nc");
        assert_eq!(Chain(&Because(top, Some(Box::new(root)))).to_string(), "a\nc: b");
    }
}
