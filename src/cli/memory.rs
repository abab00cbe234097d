//! `git scrum memory`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::memory::{Entry, MemoryKind};
use crate::domain::{ObjectId, Pattern};
use crate::engine::NewEntry;

/// Keep what was decided and learned
#[derive(Subcommand)]
pub enum Verb {
    /// Add an entry
    Add {
        /// One line
        title: String,
        /// decision, architecture, pattern, learning, failure, success, convention or dependency
        #[arg(long)]
        kind: String,
        /// Read the text from a file; '-' reads standard input
        #[arg(long, value_name = "F")]
        body_file: Option<PathBuf>,
        /// A path pattern it is about; may be given several times
        #[arg(long = "path", value_name = "GLOB")]
        paths: Vec<String>,
        /// The entry it replaces
        #[arg(long, value_name = "ID")]
        supersedes: Option<String>,
    },
    /// List the entries, the latest first
    List {
        /// Only this kind
        #[arg(long)]
        kind: Option<String>,
        /// Also entries that were replaced
        #[arg(long)]
        all: bool,
    },
    /// Find entries that contain every one of these words
    Search {
        /// Words, in any case
        #[arg(required = true)]
        words: Vec<String>,
        /// Also entries that were replaced
        #[arg(long)]
        all: bool,
    },
    /// Show an entry
    Show {
        /// Its id, or the first digits of it
        id: String,
    },
}

pub(super) fn run(verb: &Verb, context: &Context) -> Result<Reply, CliError> {
    let store = context.session.memory_store();
    let memory = context.session.knowledge(&store)?;
    match verb {
        Verb::Add { title, kind, body_file, paths, supersedes } => {
            let head = context.session.git().run(&["rev-parse", "--verify", "--quiet", "HEAD"]).ok();
            let new = NewEntry {
                kind: parse_kind(kind)?,
                title: title.clone(),
                body: tasks::read_body(body_file.as_deref())?.unwrap_or_default(),
                paths: tasks::parse_all::<Pattern>(paths)?,
                commit: head.and_then(|id| ObjectId::parse(&id).ok()),
                supersedes: supersedes.clone(),
            };
            let entry = memory.add(&new)?;
            Ok(Reply::new(json!({ "entry": view(&entry) }), line(&entry)))
        }
        Verb::List { kind, all } => {
            let kind = kind.as_deref().map(parse_kind).transpose()?;
            let entries = memory.entries(*all)?;
            Ok(listed(entries.iter().filter(|entry| kind.is_none_or(|kind| entry.kind == kind))))
        }
        Verb::Search { words, all } => {
            let entries = memory.entries(*all)?;
            Ok(listed(entries.iter().filter(|entry| entry.contains(words))))
        }
        Verb::Show { id } => {
            let entry = memory.show(id)?;
            Ok(Reply::new(json!({ "entry": view(&entry) }), whole(&entry)))
        }
    }
}

fn parse_kind(text: &str) -> Result<MemoryKind, CliError> {
    MemoryKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = MemoryKind::ALL.iter().map(|kind| kind.as_str()).collect();
        CliError::bad_argument(format!("{text:?} is not a kind of entry"), format!("use {}", names.join(", ")))
    })
}

fn listed<'a>(entries: impl Iterator<Item = &'a Entry>) -> Reply {
    let entries: Vec<&Entry> = entries.collect();
    let text: String = entries.iter().map(|entry| line(entry)).collect();
    let text = if text.is_empty() { "No entries.\n".to_owned() } else { text };
    let data: Vec<Value> = entries.iter().map(|entry| view(entry)).collect();
    Reply::new(json!({ "entries": data }), text)
}

fn view(entry: &Entry) -> Value {
    json!({
        "id": entry.id.as_str(),
        "kind": entry.kind.as_str(),
        "title": entry.title,
        "body": entry.body,
        "paths": entry.paths.iter().map(Pattern::as_str).collect::<Vec<_>>(),
        "author": entry.author.as_str(),
        "at": entry.at.to_string(),
        "commit": entry.commit.as_ref().map(|id| id.as_str()),
        "supersedes": entry.supersedes.as_ref().map(|id| id.as_str()),
        "superseded_by": entry.superseded_by.as_ref().map(|id| id.as_str()),
    })
}

fn line(entry: &Entry) -> String {
    view::clean(&format!("{} {:<12} {}", view::short(entry.id.as_str()), entry.kind, entry.title)) + "\n"
}

fn whole(entry: &Entry) -> String {
    let mut text = format!("{} {}\n  id         {}\n", entry.kind, entry.title, entry.id);
    text.push_str(&format!("  written    {} by {}\n", entry.at, entry.author));
    if let Some(commit) = &entry.commit {
        text.push_str(&format!("  at commit  {commit}\n"));
    }
    if !entry.paths.is_empty() {
        let paths: Vec<&str> = entry.paths.iter().map(Pattern::as_str).collect();
        text.push_str(&format!("  about      {}\n", paths.join(", ")));
    }
    if let Some(old) = &entry.supersedes {
        text.push_str(&format!("  replaces   {old}\n"));
    }
    if let Some(new) = &entry.superseded_by {
        text.push_str(&format!("  replaced by {new}\n"));
    }
    if !entry.body.is_empty() {
        text.push_str(&format!("\n{}\n", entry.body.trim_end()));
    }
    view::clean(&text)
}
