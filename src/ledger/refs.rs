//! Local refs: read one, move one, move several or none.
//!
//! Reading goes through gix where gix can (no process). Everything that changes a ref goes through `git
//! update-ref`: gix locks `packed-refs` even to set one loose ref, and a process killed over that would leave a
//! lock file behind that keeps everybody from deleting a branch.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Fault, Outcome, Place, RefFormat, RefUpdate};
use crate::git::Git;

/// How many refs one command names.
const NAMED_MAX: usize = 200;

/// The local refs of one repository.
#[derive(Clone)]
pub struct Refs {
    place: Rc<Place>,
    git: Git,
}

impl Refs {
    /// The refs of `place`.
    pub fn new(place: Rc<Place>, git: Git) -> Refs {
        Refs { place, git }
    }

    /// The object a ref points to, `None` where there is no such ref.
    pub fn read(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.place.ref_format {
            RefFormat::Files => {
                let found = self.place.repository().try_find_reference(name);
                let found = found.map_err(|error| Fault::integrity(format!("cannot read {name}: {error}")))?;
                let Some(mut reference) = found else { return Ok(None) };
                let id = reference.peel_to_id();
                let id = id.map_err(|error| Fault::integrity(format!("cannot follow {name}: {error}")))?;
                Ok(Some(id.to_string()))
            }
            RefFormat::Reftable => {
                let output = self.git.output(["rev-parse", "--verify", "--quiet", name]);
                let output = output.map_err(|error| Fault::io("reading a ref", error))?;
                Ok(output.success().then(|| output.stdout_text().trim().to_owned()))
            }
        }
    }

    /// The objects that refs point to, of those among `names` that are there.
    pub fn read_all(&self, names: &[String]) -> Result<BTreeMap<String, String>, Fault> {
        if self.place.ref_format == RefFormat::Files {
            let found = names.iter().map(|name| Ok(self.read(name)?.map(|id| (name.clone(), id))));
            return found.filter_map(Result::transpose).collect();
        }
        let mut found = BTreeMap::new();
        for names in names.chunks(NAMED_MAX) {
            let named = names.iter().map(String::as_str);
            let args: Vec<&str> =
                ["for-each-ref", "--format=%(refname) %(objectname)"].into_iter().chain(named).collect();
            let listed = self.git.run(&args).map_err(|error| Fault::io("reading refs", error))?;
            found.extend(pairs(&listed));
        }
        // A name also finds what is below it.
        found.retain(|name, _| names.contains(name));
        Ok(found)
    }

    /// The refs whose names begin with `prefix`, which ends with a slash, and the objects they point to.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, Fault> {
        let unreadable = |error: &dyn std::fmt::Display| Fault::integrity(format!("cannot list {prefix}: {error}"));
        if self.place.ref_format == RefFormat::Files {
            let refs = self.place.repository().references().map_err(|error| unreadable(&error))?;
            let refs = refs.prefixed(prefix).map_err(|error| unreadable(&error))?;
            let found = refs.filter_map(Result::ok);
            return Ok(found
                .filter_map(|found| Some((found.name().as_bstr().to_string(), found.try_id()?.to_string())))
                .collect());
        }
        let listed = self.git.run(&["for-each-ref", "--format=%(refname) %(objectname)", prefix]);
        let listed = listed.map_err(|error| Fault::io(format!("cannot list {prefix}"), error))?;
        Ok(pairs(&listed).collect())
    }

    /// Sets a ref of our own cache, whatever it was.
    pub fn set(&self, name: &str, new: &str) -> Result<(), Fault> {
        let done = self.git.run(&["update-ref", name, new]);
        done.map(|_| ()).map_err(|error| Fault::io(format!("cannot set {name}"), error))
    }

    /// Removes a ref of our own cache, if it is there.
    pub fn forget(&self, name: &str) -> Result<(), Fault> {
        if self.read(name)?.is_some() {
            let done = self.git.run(&["update-ref", "-d", name]);
            done.map_err(|error| Fault::io(format!("cannot remove {name}"), error))?;
        }
        Ok(())
    }

    /// Removes refs of our own cache that are there.
    pub fn forget_all(&self, names: &[String]) -> Result<(), Fault> {
        let script: String = names.iter().map(|name| format!("delete {name}\n")).collect();
        let output = self.git.output_with(["update-ref", "--stdin"], Some(script.as_bytes()));
        let output = output.map_err(|error| Fault::io("removing refs", error))?;
        let said = || crate::git::failure::telling_line(&output.stderr_text());
        if output.success() { Ok(()) } else { Err(Fault::io("cannot remove refs of the cache", said())) }
    }

    /// Moves all of `updates`, each from its expected value, durably, or none of them.
    pub fn transact(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        let zero = "0".repeat(self.place.hex_len());
        let mut script = String::from("start\n");
        for update in updates {
            let old = update.old.as_deref().unwrap_or(&zero);
            match &update.new {
                Some(new) => script.push_str(&format!("update {} {new} {old}\n", update.name)),
                None => script.push_str(&format!("delete {} {old}\n", update.name)),
            }
        }
        script.push_str("prepare\ncommit\n");
        let args = ["-c", "core.fsync=loose-object,pack,reference", "update-ref", "--stdin"];
        let output = self.git.output_with(args, Some(script.as_bytes()));
        let output = output.map_err(|error| Fault::io("updating refs", error))?;
        if output.success() {
            return Ok(Outcome::Applied);
        }
        let said = output.stderr_text();
        let named = updates.iter().find(|update| said.contains(&format!("'{}'", update.name)));
        let ref_name = named.map_or_else(|| updates[0].name.clone(), |update| update.name.clone());
        Ok(if said.contains("File exists") {
            Outcome::Locked { reason: crate::git::failure::telling_line(&said) }
        } else if ["but expected", "reference already exists", "unable to resolve reference", "reference is missing"]
            .iter()
            .any(|word| said.contains(word))
        {
            Outcome::Lost { ref_name }
        } else if output.code.is_none() {
            Outcome::Unknown { reason: "git update-ref was killed".to_owned() }
        } else {
            Outcome::Refused { ref_name, reason: crate::git::failure::telling_line(&said) }
        })
    }
}

/// The names and ids of a list with one of each in a line.
fn pairs(listed: &str) -> impl Iterator<Item = (String, String)> {
    listed.lines().filter_map(|line| line.split_once(' ')).map(|(name, id)| (name.to_owned(), id.to_owned()))
}
