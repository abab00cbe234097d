//! Ledger content as git objects: trees and blobs read and written through gix.
//!
//! The only module, with `place`, that knows gix. Content comes from a shared ref that anybody may have
//! written (GIT_FACTS 21): sizes are checked before content is read, and only plain blobs and trees are followed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::rc::Rc;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;

use super::{Batch, ChainEntry, Fault, KEY_BYTES_MAX, Key, Place, VALUE_BYTES_MAX, Version, checkpoint};
use crate::failpoint;

/// The deepest nesting of directories that is followed.
const DEPTH_MAX: usize = 8;
/// The largest tree that is read, in bytes: 3,000 entries of names of up to 255 bytes, and room to spare.
const TREE_BYTES_MAX: u64 = 4 << 20;

/// Whose name a commit bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// A name, never empty.
    pub name: String,
    /// An address, never empty.
    pub email: String,
}

/// A commit that is like another one.
pub struct CommitCopy<'a> {
    /// Its tree.
    pub tree: &'a str,
    /// Its parent.
    pub parent: &'a str,
    /// Its message.
    pub message: CopiedMessage<'a>,
}

/// The message of a commit that is like another one.
pub enum CopiedMessage<'a> {
    /// That of the other one, with these lines at its end.
    With(&'a str),
    /// This one.
    Instead(&'a str),
}

/// How many trees are kept once they were read: a few versions of what one command looks at.
const TREES_KEPT_MAX: usize = 256;

/// The object database of one repository.
#[derive(Clone)]
pub struct Objects {
    place: Rc<Place>,
    /// Trees that were read, for every key is looked up from the root. A tree never changes.
    trees: Rc<RefCell<HashMap<ObjectId, Rc<[Entry]>>>>,
}

impl Objects {
    /// The objects of `place`.
    pub fn new(place: Rc<Place>) -> Objects {
        Objects { place, trees: Rc::default() }
    }

    /// The blob at `path` in the tree of `commit`, if there is one, read only when at most `bytes_max` long.
    pub fn blob(&self, commit: &str, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut tree = self.tree_of(commit)?;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some((id, is_tree)) = find_entry(&tree, part) else { return Ok(None) };
            match (is_tree, parts.peek().is_some()) {
                (true, true) => tree = self.tree(id)?,
                (false, false) => return self.read_blob(id, path, bytes_max).map(Some),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A file of the code, under any name it may have there: read only when at most `bytes_max` long; a longer one is
    /// [`Fault::TooLarge`].
    pub fn file(&self, commit: &str, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        let unreadable = |error: &dyn std::fmt::Display| Fault::integrity(format!("cannot read {path}: {error}"));
        let found = self.place.repository().find_commit(parse_id(commit)?).and_then(|commit| commit.tree());
        let tree = found.map_err(|error| unreadable(&error))?;
        let entry = tree.lookup_entry_by_path(path).map_err(|error| unreadable(&error))?;
        match entry.filter(|entry| entry.mode().is_blob()) {
            Some(entry) => {
                let header = self.place.repository().find_header(entry.object_id());
                match usize::try_from(header.map_err(|error| unreadable(&error))?.size()) {
                    Ok(size) if size <= bytes_max => self.read_blob(entry.object_id(), path, bytes_max).map(Some),
                    size => Err(Fault::TooLarge { what: path.to_owned(), size: size.unwrap_or(usize::MAX) }),
                }
            }
            None => Ok(None),
        }
    }

    /// Visits every blob below the directory `prefix` of `commit`, in name order, with its path from the root.
    pub fn scan(
        &self,
        commit: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let Some(tree) = self.directory(commit, prefix)? else { return Ok(()) };
        self.scan_tree(&tree, prefix, DEPTH_MAX, visit).map(|_| ())
    }

    /// The names directly in a directory of `commit`, in order.
    pub fn names(&self, commit: &str, directory: &str) -> Result<Vec<String>, Fault> {
        let tree = self.directory(commit, directory)?;
        let mut names: Vec<String> = tree.iter().flat_map(|tree| tree.iter()).map(|entry| entry.name.clone()).collect();
        // Git orders a directory as if its name ended with a slash.
        names.sort_unstable();
        Ok(names)
    }

    fn directory(&self, commit: &str, path: &str) -> Result<Option<Rc<[Entry]>>, Fault> {
        let mut tree = self.tree_of(commit)?;
        for part in path.split('/') {
            match find_entry(&tree, part) {
                Some((id, true)) => tree = self.tree(id)?,
                _ => return Ok(None),
            }
        }
        Ok(Some(tree))
    }

    fn scan_tree(
        &self,
        tree: &[Entry],
        path: &str,
        depth: usize,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Fault> {
        if depth == 0 || path.len() > KEY_BYTES_MAX {
            return Err(Fault::integrity(format!("the ledger is nested too deeply at {path}")));
        }
        for entry in tree {
            let path = format!("{path}/{}", entry.name);
            let flow = if entry.is_tree {
                self.scan_tree(&self.tree(entry.id)?, &path, depth - 1, visit)?
            } else {
                visit(&path, &self.read_blob(entry.id, &path, VALUE_BYTES_MAX)?)
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Writes the tree that `batch` makes of the tree of `parent` without the list of a checkpoint, with all its new
    /// blobs. Gives the tree's id.
    pub fn write_tree(&self, parent: Option<&str>, batch: &Batch) -> Result<String, Fault> {
        let repo = self.place.repository();
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot write a tree", error);
        let base = match parent {
            Some(commit) => repo.find_commit(parse_id(commit)?).and_then(|commit| commit.tree()),
            None => Ok(repo.empty_tree()),
        };
        let base = base.map_err(|error| Fault::integrity(format!("cannot read {parent:?}: {error}")))?;
        failpoint::reach("writing blobs");
        let mut editor = base.edit().map_err(|error| failed(&error))?;
        // What a checkpoint names is of no use to the versions after it.
        editor.remove(checkpoint::DIRECTORY).map_err(|error| failed(&error))?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => {
                    assert!(value.len() <= VALUE_BYTES_MAX, "BUG: the value of {key} has {} bytes", value.len());
                    let blob = repo.write_blob(value).map_err(|error| failed(&error))?;
                    editor.upsert(key.as_str(), EntryKind::Blob, blob).map_err(|error| failed(&error))?;
                }
                None => {
                    editor.remove(key.as_str()).map_err(|error| failed(&error))?;
                }
            }
        }
        failpoint::reach("writing trees");
        Ok(editor.write().map_err(|error| failed(&error))?.to_string())
    }

    /// Writes a commit of `tree` after `parents`, dated `at_secs`.
    pub fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        author: &Author,
        message: &str,
        at_secs: u64,
    ) -> Result<String, Fault> {
        let signature = signature(author, at_secs);
        let commit = gix::objs::Commit {
            tree: parse_id(tree)?,
            parents: parents.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?,
            author: signature.clone(),
            committer: signature,
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        };
        failpoint::reach("writing a commit");
        let written = self.place.repository().write_object(&commit);
        Ok(written.map_err(|error| Fault::io("cannot write a commit", error))?.to_string())
    }

    /// Writes a commit like `original`, of the same author, but with what `copy` says.
    pub fn copy_commit(
        &self,
        original: &str,
        copy: &CommitCopy<'_>,
        committer: &Author,
        at_secs: u64,
    ) -> Result<String, Fault> {
        let unreadable = |error: &dyn Display| Fault::integrity(format!("cannot read commit {original}: {error}"));
        let found = self.place.repository().find_commit(parse_id(original)?).map_err(|error| unreadable(&error))?;
        let decoded = found.decode().map_err(|error| unreadable(&error))?;
        let (message, encoding) = match copy.message {
            CopiedMessage::Instead(message) => (message.into(), None),
            CopiedMessage::With(trailers) => {
                let mut message = decoded.message.trim_end().to_vec();
                let has_trailers = gix::objs::commit::MessageRef::from_bytes(&message);
                let has_trailers = has_trailers.body().is_some_and(|body| body.trailers().next().is_some());
                message.extend_from_slice(if has_trailers { b"\n" } else { b"\n\n" });
                message.extend_from_slice(trailers.as_bytes());
                (message.into(), decoded.encoding.map(ToOwned::to_owned))
            }
        };
        let commit = gix::objs::Commit {
            tree: parse_id(copy.tree)?,
            parents: [parse_id(copy.parent)?].into_iter().collect(),
            author: decoded
                .author()
                .map_err(|error| unreadable(&error))?
                .to_owned()
                .map_err(|error| unreadable(&error))?,
            committer: signature(committer, at_secs),
            encoding,
            message,
            extra_headers: Vec::new(),
        };
        failpoint::reach("writing a commit");
        let written = self.place.repository().write_object(&commit);
        Ok(written.map_err(|error| Fault::io("cannot write a commit", error))?.to_string())
    }

    /// The id of the tree of the first parent of `commit`: of an empty one, where it has none.
    pub fn parent_tree(&self, commit: &str) -> Result<String, Fault> {
        let unreadable = |error: &dyn Display| Fault::integrity(format!("cannot read commit {commit}: {error}"));
        let repo = self.place.repository();
        let found = repo.find_commit(parse_id(commit)?).map_err(|error| unreadable(&error))?;
        match found.parent_ids().next() {
            Some(parent) => self.tree_id(&parent.to_string()),
            None => Ok(repo.empty_tree().id.to_string()),
        }
    }

    /// Makes sure that the objects of `commit` which its parent has not are on the disk, not in a cache of the system
    /// (GIT_FACTS 9): needed where this clone is the truth.
    pub fn sync(&self, commit: &str) -> Result<(), Fault> {
        let directory = self.place.repository().objects.store_ref().path().to_path_buf();
        // One flush of the file system that holds them costs less than one for every object.
        #[expect(clippy::disallowed_methods, reason = "only a handle on a directory, to name the file system")]
        let handle = std::fs::File::open(&directory);
        let handle = handle.map_err(|error| Fault::io(format!("cannot open {}", directory.display()), error))?;
        failpoint::reach("flushing objects");
        rustix::fs::syncfs(&handle).map_err(|error| Fault::io(format!("cannot flush the objects of {commit}"), error))
    }

    /// The chain from `tip` back to, and without, `until`: newest first, at most `count_max` commits.
    pub fn chain(&self, tip: &str, until: Option<&str>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        let mut entries = Vec::new();
        let mut at = Some(tip.to_owned());
        while let Some(id) = at {
            if Some(id.as_str()) == until || entries.len() == count_max {
                break;
            }
            let unreadable = |error: &dyn std::fmt::Display| Fault::integrity(format!("cannot read {id}: {error}"));
            let commit = self.place.repository().find_commit(parse_id(&id)?).map_err(|error| unreadable(&error))?;
            let decoded = commit.decode().map_err(|error| unreadable(&error))?;
            let mut parents = decoded.parents();
            let parent = parents.next().map(|id| id.to_string());
            if parents.next().is_some() {
                return Err(Fault::integrity(format!("{id} has two parents: a ledger is one linear chain")));
            }
            let time = decoded.committer().ok().and_then(|committer| committer.time().ok());
            entries.push(ChainEntry {
                version: Version(id.clone()),
                parent: parent.clone().map(Version),
                message: decoded.message.to_string(),
                at_secs: time.and_then(|time| u64::try_from(time.seconds).ok()).unwrap_or(0),
            });
            at = parent;
        }
        Ok(entries)
    }

    /// Whether the object is in this repository.
    pub fn has(&self, id: &str) -> bool {
        parse_id(id).is_ok_and(|id| self.place.repository().has_object(id))
    }

    /// The id of the tree of `commit`.
    pub fn tree_id(&self, commit: &str) -> Result<String, Fault> {
        Ok(self.root(commit)?.to_string())
    }

    fn root(&self, commit: &str) -> Result<ObjectId, Fault> {
        let found = self.place.repository().find_commit(parse_id(commit)?);
        let found = found.map_err(|error| Fault::integrity(format!("cannot read commit {commit}: {error}")))?;
        let tree = found.tree_id().map_err(|error| Fault::integrity(format!("cannot read {commit}: {error}")))?;
        Ok(tree.detach())
    }

    fn tree_of(&self, commit: &str) -> Result<Rc<[Entry]>, Fault> {
        self.tree(self.root(commit)?)
    }

    fn tree(&self, id: ObjectId) -> Result<Rc<[Entry]>, Fault> {
        if let Some(tree) = self.trees.borrow().get(&id) {
            return Ok(Rc::clone(tree));
        }
        let tree: Rc<[Entry]> = self.read_tree(id)?.into();
        let mut trees = self.trees.borrow_mut();
        if trees.len() >= TREES_KEPT_MAX {
            trees.clear();
        }
        trees.insert(id, Rc::clone(&tree));
        Ok(tree)
    }

    fn read_tree(&self, id: ObjectId) -> Result<Vec<Entry>, Fault> {
        self.check_size(id, "tree", TREE_BYTES_MAX)?;
        let unreadable = |error: &dyn std::fmt::Display| Fault::integrity(format!("cannot read tree {id}: {error}"));
        let tree = self.place.repository().find_tree(id).map_err(|error| unreadable(&error))?;
        let mut entries = Vec::new();
        for entry in tree.iter() {
            let entry = entry.map_err(|error| unreadable(&error))?;
            let mode = entry.mode();
            // Symlinks, submodules and names that no key has were not written by us, and are not followed.
            if (mode.is_blob() || mode.is_tree())
                && let Ok(name) = std::str::from_utf8(entry.filename())
                && Key::is_valid(name)
            {
                entries.push(Entry { name: name.to_owned(), id: entry.object_id(), is_tree: mode.is_tree() });
            }
        }
        Ok(entries)
    }

    fn read_blob(&self, id: ObjectId, path: &str, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        self.check_size(id, path, bytes_max as u64)?;
        let blob = self.place.repository().find_blob(id);
        let mut blob = blob.map_err(|error| Fault::integrity(format!("cannot read {path}: {error}")))?;
        Ok(blob.take_data())
    }

    fn check_size(&self, id: ObjectId, what: &str, bytes_max: u64) -> Result<(), Fault> {
        let header = self.place.repository().find_header(id);
        let header = header.map_err(|error| Fault::integrity(format!("cannot read {what}: {error}")))?;
        if header.size() > bytes_max {
            return Err(Fault::integrity(format!("{what} has {} bytes, more than {bytes_max}", header.size())));
        }
        Ok(())
    }
}

fn signature(author: &Author, at_secs: u64) -> gix::actor::Signature {
    gix::actor::Signature {
        name: author.name.as_str().into(),
        email: author.email.as_str().into(),
        time: gix::date::Time { seconds: i64::try_from(at_secs).unwrap_or(i64::MAX), offset: 0 },
    }
}

struct Entry {
    name: String,
    id: ObjectId,
    is_tree: bool,
}

fn find_entry(tree: &[Entry], name: &str) -> Option<(ObjectId, bool)> {
    tree.iter().find(|entry| entry.name == name).map(|entry| (entry.id, entry.is_tree))
}

fn parse_id(hex: &str) -> Result<ObjectId, Fault> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|error| Fault::integrity(format!("{hex} is not an object id: {error}")))
}
