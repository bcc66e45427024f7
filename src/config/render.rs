//! Problems as text for people and as JSON for programs.

use super::problem::Place;
use super::problem::Problem;
use super::problem::Problems;
use super::problem::Severity;
use annotate_snippets::AnnotationKind;
use annotate_snippets::Group;
use annotate_snippets::Level;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;
use serde::Serialize;
use std::ops::Range;

/// One problem as programs read it.
#[derive(Serialize)]
struct Report<'a> {
    severity: Severity,
    /// Dotted, with positions from 0.
    key: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    file: Option<&'a str>,
    /// From 1.
    line: Option<usize>,
    /// From 1, in characters.
    column: Option<usize>,
    /// The variable or option, where the value did not come from a file.
    from: Option<&'a str>,
}

impl Problems {
    /// Every problem with its line, caret and hint; with colours when `styled`.
    #[must_use]
    pub fn to_text(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.list {
            out.push_str(&renderer.render(&[self.group(problem)]));
            out.push_str("\n\n");
        }
        out
    }

    /// `{"problems": […]}` with severity, key, message, hint, file, line and column of each.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let reports: Vec<_> = self.list.iter().map(|problem| self.report(problem)).collect();
        serde_json::json!({ "problems": reports })
    }

    fn report<'a>(&'a self, problem: &'a Problem) -> Report<'a> {
        let (position, from) = match &problem.place {
            Place::File(span) => (Some(position(&self.text, span.start)), None),
            Place::Environment(name) | Place::Flag(name) => (None, Some(name.as_str())),
            Place::Nowhere => (None, None),
        };
        Report {
            severity: problem.severity,
            key: &problem.key,
            message: &problem.message,
            hint: problem.hint.as_deref(),
            file: position.is_some().then_some(self.name.as_str()),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            from,
        }
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&problem.message));
        match &problem.place {
            Place::File(span) => {
                let mut snippet = Snippet::source(&self.text)
                    .path(&self.name)
                    .annotation(AnnotationKind::Primary.span(self.shown(span)));
                if let Some((span, label)) = &problem.also {
                    snippet = snippet.annotation(AnnotationKind::Context.span(self.shown(span)).label(*label));
                }
                group = group.element(snippet);
            }
            // A message about the variable itself names it already.
            Place::Environment(name) if problem.message.contains(name.as_str()) => {}
            Place::Environment(name) => {
                group = group.element(Level::NOTE.message(format!("it comes from the environment variable {name}")));
            }
            Place::Flag(name) => {
                group = group.element(Level::NOTE.message(format!("it comes from the option {name}")));
            }
            Place::Nowhere => {}
        }
        match &problem.hint {
            Some(hint) => group.element(Level::HELP.message(hint)),
            None => group,
        }
    }

    /// The part of a span on its first line, inside the text: a table's caret is one line, not a wall.
    fn shown(&self, span: &Range<usize>) -> Range<usize> {
        let start = floor(&self.text, span.start);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |length| start + length);
        start..floor(&self.text, span.end).clamp(start, line_end)
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column from 1, the column in characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..floor(text, at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
