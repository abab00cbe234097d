//! What git's own configuration says: where the truth is, and who writes.
//!
//! Guarantees: nothing is asked of a remote. Must not know what `scrum.*` keys mean: `config` does.

use super::cut;
use crate::config::{LocalSettings, Pairs};
use crate::domain::Branch;
use crate::git::Git;
use crate::ledger::{Author, Fault, Truth};

/// `git config --list`: the last value of each key wins, as for git itself.
pub(super) fn read_git_config(git: &Git) -> Result<Pairs, Fault> {
    let listed = git.run(&["config", "--list", "-z"]);
    let listed =
        listed.map_err(|error| Fault::Environment { what: format!("cannot read the configuration: {error}") })?;
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        (key.to_owned(), value.to_owned())
    };
    let mut pairs = Pairs::new();
    for (key, value) in listed.split('\0').filter(|entry| !entry.is_empty()).map(pair) {
        // The first address of a remote is the one that is read.
        if key.starts_with("remote.") && key.ends_with(".url") {
            pairs.entry(key).or_insert(value);
        } else {
            pairs.insert(key, value);
        }
    }
    Ok(pairs)
}

pub(super) fn remotes(git_config: &Pairs) -> Vec<&str> {
    git_config.keys().filter_map(|key| key.strip_prefix("remote.")?.strip_suffix(".url")).collect()
}

/// Where the truth is when nobody says: at `origin`, or the only remote, or here.
pub(super) fn find_truth(local: &LocalSettings, git_config: &Pairs) -> Result<Truth, Fault> {
    if let Some(remote) = &local.remote {
        return truth_at(remote, git_config);
    }
    let remotes = remotes(git_config);
    let preferred = git_config.get("checkout.defaultremote").map(String::as_str);
    let named = |name: &str| remotes.contains(&name);
    match (preferred.filter(|name| named(name)), named("origin"), remotes.as_slice()) {
        (Some(name), _, _) => truth_at(name, git_config),
        (None, true, _) => truth_at("origin", git_config),
        (None, false, [only]) => truth_at(only, git_config),
        (None, false, []) => Ok(Truth::Local),
        (None, false, _) => Err(Fault::Environment {
            what: format!("there are several remotes ({}): say which with git scrum init --remote", remotes.join(", ")),
        }),
    }
}

/// The truth at a remote: the name of one, an address, or `.` for this clone.
pub(super) fn truth_at(remote: &str, git_config: &Pairs) -> Result<Truth, Fault> {
    if remote == "." {
        return Ok(Truth::Local);
    }
    let is_name = Branch::parse(remote).is_ok() && !remote.contains('/');
    match git_config.get(&format!("remote.{remote}.url")) {
        Some(url) if is_name => Ok(Truth::Remote { name: remote.to_owned(), url: url.clone() }),
        None if remote.contains("://") || remote.contains('/') || remote.contains(':') => {
            Ok(Truth::Remote { name: name_of_address(remote), url: remote.to_owned() })
        }
        _ => Err(Fault::Environment { what: format!("there is no remote named {remote:?}") }),
    }
}

/// An address as part of a ref name.
fn name_of_address(address: &str) -> String {
    let kept = address.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let name: String = kept.collect();
    format!("at-{}", cut(name.trim_matches('-'), 100))
}

pub(super) fn author(git_config: &Pairs) -> Author {
    let get = |key: &str, default: &str| {
        let value = git_config.get(key).map(|value| value.replace(['<', '>', '\n'], " "));
        value.filter(|value| !value.trim().is_empty()).unwrap_or_else(|| default.to_owned())
    };
    Author { name: get("user.name", "git-scrum"), email: get("user.email", "git-scrum@localhost") }
}
