//! Values that stand elsewhere: `env:NAME`, `file:PATH`, and `${NAME}` inside a text.

use super::environment::Environment;
use super::read::Reader;
use super::shape::Shape;
use super::tree::Node;
use super::tree::Origin;
use super::tree::Value;
use super::variables;
use super::wording::last;
use std::path::Path;

impl Reader<'_> {
    /// Replaces `env:NAME`, `file:PATH` and `${NAME}` by what they name; what was fetched is not read again.
    pub(super) fn fetch(&mut self, node: &mut Node, secret: bool, full: &str) {
        let Some(text) = node.text().filter(|_| node.through.is_none()) else {
            return;
        };
        let reference = text.starts_with("env:") || text.starts_with("file:");
        // Only in the file: what stands in a variable or an option has been through a shell.
        let filled = matches!(node.origin, Origin::File(_)) && variables::are_in(text);
        let Some(environment) = self.environment.filter(|_| reference || filled) else {
            if reference || filled {
                node.value = Value::Broken;
            }
            return;
        };
        if filled {
            match variables::fill(text, environment) {
                Ok(filled) => {
                    node.through = Some(filled.through);
                    node.value = Value::Text(filled.text);
                }
                Err(not) => return self.refuse(node, full, format!("`{}`: {}", last(full), not.why), &not.hint),
            }
        }
        if reference {
            self.follow(node, environment, secret, full);
        }
    }

    fn follow(&mut self, node: &mut Node, environment: &Environment, secret: bool, full: &str) {
        let Some(text) = node.text() else { return };
        let fetched = if let Some(name) = text.strip_prefix("env:") {
            environment
                .find(name)
                .map(str::to_owned)
                .map_err(|why| format!("the environment variable {name:?} {why}"))
        } else {
            let path = text.strip_prefix("file:").unwrap_or(text);
            let file = self.folder_of(node).join(path);
            let read = super::file::read_value(&file);
            self.findings.files.push(file);
            read.map_err(|why| format!("cannot read {path:?}: {why}"))
        };
        match fetched {
            Ok(value) => {
                node.through = Some(text.to_owned());
                node.value = Value::Text(value);
            }
            Err(why) => {
                let hint = if secret {
                    "the secret is expected there"
                } else {
                    "the value is expected there"
                };
                self.refuse(node, full, format!("`{}`: {why}", last(full)), hint);
            }
        }
    }

    /// A list may be one reference: its lines are the elements.
    pub(super) fn split_reference(&mut self, node: &mut Node, shape: &Shape, full: &str) {
        if !node
            .text()
            .is_some_and(|text| text.starts_with("env:") || text.starts_with("file:"))
        {
            return;
        }
        self.fetch(node, shape.secret, full);
        let Some(text) = node.text() else { return };
        let items = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let items = items.map(|line| Node {
            through: node.through.clone(),
            ..Node::new(Value::Text(line.to_owned()), node.origin.clone())
        });
        node.value = Value::List(items.collect());
    }

    /// Paths in the file start at its folder; those of variables and options where the process stands.
    fn folder_of(&self, node: &Node) -> &Path {
        if matches!(node.origin, Origin::File(_)) {
            self.folder
        } else {
            Path::new("")
        }
    }
}
