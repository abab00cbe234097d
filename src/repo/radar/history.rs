//! Where two lines of work have parted: the merge bases of every pair of many commits, from one look at the history.
//!
//! Guarantees: a pair is said to have a merge base only if git finds that one and no other. A pair that has none or
//! several, or of which nobody knows, is left to git. Bounded: a history that is too long is not looked at.

use std::collections::BTreeMap;

use super::bits::Bits;
use crate::domain::ObjectId;
use crate::git::Git;
use crate::ledger::Fault;

/// The most commits that are looked at: those that are not in the history of all.
const COMMITS_MAX: usize = 50_000;

/// The merge bases of each pair of tips.
#[derive(Debug, Default)]
pub(super) struct History {
    /// How many tips there are.
    tips: usize,
    /// Every commit that is the merge base of some pair, the newest first.
    bases: Vec<ObjectId>,
    /// For each pair its merge base, if it has one and only one; nothing at all where the history is not known.
    of_pair: Vec<Option<usize>>,
}

impl History {
    /// Looks at the history of `tips`.
    pub fn of(git: &Git, tips: &[ObjectId]) -> Result<History, Fault> {
        let failed = |error| Fault::io("reading the history", error);
        let names: Vec<&str> = tips.iter().map(ObjectId::as_str).collect();
        let common = git.output([&["merge-base", "--octopus"], &names[..]].concat()).map_err(failed)?;
        let common = common.success().then(|| common.stdout_text());
        let common = common.and_then(|text| ObjectId::parse(text.lines().next()?).ok());
        let mut input: String = names.iter().map(|name| format!("{name}\n")).collect();
        if let Some(common) = &common {
            input.push_str(&format!("^{common}\n"));
        }
        let count = format!("--max-count={}", COMMITS_MAX + 1);
        let args = ["rev-list", "--topo-order", "--parents", &count, "--stdin"];
        let listed = git.output_with(args, Some(input.as_bytes())).map_err(failed)?;
        let text = listed.stdout_text();
        if !listed.success() || text.lines().count() > COMMITS_MAX {
            // Whatever is wrong with the history is git's to say, pair by pair.
            return Ok(History::default());
        }
        Ok(History::from_list(tips, common, &text))
    }

    /// From what `git rev-list --topo-order --parents` lists: each commit before its parents. What is in the history of
    /// `common`, which all tips have in theirs, is left out there.
    fn from_list(tips: &[ObjectId], common: Option<ObjectId>, listed: &str) -> History {
        let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split(' ').collect()).collect();
        let place: BTreeMap<&str, usize> = rows.iter().enumerate().map(|(nth, row)| (row[0], nth)).collect();
        let parents = |nth: usize| rows[nth][1..].iter().map(|parent| place.get(parent).copied());
        let mut history = History { tips: tips.len(), bases: Vec::new(), of_pair: Vec::new() };
        let mut found = vec![Found::Nothing; tips.len() * tips.len()];

        // Whether the common commit is in the history of each: their parents have been asked before them.
        let mut leads_to_common = vec![false; rows.len()];
        for nth in (0..rows.len()).rev() {
            let direct = common.as_ref().is_some_and(|common| rows[nth][1..].contains(&common.as_str()));
            leads_to_common[nth] = direct || parents(nth).flatten().any(|parent| leads_to_common[parent]);
        }
        // Which tips have each in their history, and for which pairs one of its children has been seen by both. A
        // commit is a merge base of two tips that both have it, unless both have one of its children.
        let mut seen_by = vec![Bits::default(); rows.len()];
        for (tip, id) in tips.iter().enumerate() {
            if let Some(nth) = place.get(id.as_str()) {
                seen_by[*nth].insert(tip);
            }
        }
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
        for nth in 0..rows.len() {
            let own = seen_by[nth].clone();
            if !children[nth].iter().any(|child| seen_by[*child] == own) {
                let both = |a: usize, b: usize, of: usize| seen_by[of].contains(a) && seen_by[of].contains(b);
                let of: Vec<usize> = own.iter().collect();
                let mut base = None;
                for (at, &a) in of.iter().enumerate() {
                    for &b in &of[at + 1..] {
                        if children[nth].iter().any(|child| both(a, b, *child)) {
                            continue;
                        }
                        let found = &mut found[a * tips.len() + b];
                        let alone = *found == Found::Nothing && (common.is_none() || leads_to_common[nth]);
                        let base = *base.get_or_insert_with(|| {
                            history.bases.push(ObjectId::parse(rows[nth][0]).expect("git lists object ids"));
                            history.bases.len() - 1
                        });
                        *found = if alone { Found::One(base) } else { Found::Several };
                    }
                }
            }
            for parent in parents(nth).flatten() {
                children[parent].push(nth);
                seen_by[parent].add(&own);
            }
        }
        let of_common = common.map(|common| {
            history.bases.push(common);
            history.bases.len() - 1
        });
        history.of_pair = found
            .into_iter()
            .map(|found| match found {
                Found::Nothing => of_common,
                Found::One(base) => Some(base),
                Found::Several => None,
            })
            .collect();
        history
    }

    /// Every commit that is a merge base, the newest first.
    pub fn bases(&self) -> &[ObjectId] {
        &self.bases
    }

    /// The place of a pair's merge base among [`History::bases`], if it has one and only one.
    pub fn base(&self, a: usize, b: usize) -> Option<usize> {
        let (a, b) = (a.min(b), a.max(b));
        if a == b { None } else { self.of_pair.get(a * self.tips + b).copied().flatten() }
    }
}

/// What was found of a pair so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    One(usize),
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: char) -> String {
        let digit = u32::from(name) % 16;
        format!("{digit:x}").repeat(40)
    }

    /// The merge base of the first two tips in a history of one-letter commits, each line one with its parents.
    fn base(tips: &str, common: Option<char>, listed: &[&str]) -> Option<String> {
        let tips: Vec<ObjectId> = tips.chars().map(|tip| ObjectId::parse(&id(tip)).expect("an id")).collect();
        let common = common.map(|common| ObjectId::parse(&id(common)).expect("an id"));
        let line = |line: &&str| line.chars().map(id).collect::<Vec<_>>().join(" ") + "\n";
        let history = History::from_list(&tips, common, &listed.iter().map(line).collect::<String>());
        history.base(1, 0).map(|base| history.bases()[base].to_string())
    }

    #[test]
    fn two_that_parted_once_have_one_base() {
        assert_eq!(base("ab", Some('c'), &["ac", "bc"]), Some(id('c')));
        assert_eq!(base("ab", Some('d'), &["ac", "bc", "cd"]), Some(id('c')));
        assert_eq!(base("ab", Some('d'), &["ac", "bec", "ed", "cd"]), Some(id('c')), "the common one is further back");
        assert_eq!(base("ab", Some('b'), &["ac", "cb"]), Some(id('b')), "one that goes on from the other");
        assert_eq!(base("abe", Some('d'), &["ab", "bd", "ed"]), Some(id('b')), "and is in no other history");
    }

    #[test]
    fn what_crossed_or_never_met_is_left_to_git() {
        assert_eq!(base("ab", Some('e'), &["acd", "bcd", "ce", "de"]), None, "a criss-cross");
        assert_eq!(base("ab", None, &["ac", "bd", "c", "d"]), None, "no common history");
        assert_eq!(base("ab", None, &["ac", "bc", "c"]), Some(id('c')), "a common history that not all have");
        assert_eq!(base("ab", Some('d'), &["acd", "bcd", "c"]), None, "a root that both have taken in");
        assert_eq!(History::default().base(0, 1), None);
    }
}
