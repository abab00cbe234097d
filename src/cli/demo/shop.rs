//! The project of the demo: a small shop of shell scripts, a style sheet and a guide, and what the workers change.
//!
//! Texts only. In a repository of the user's it all goes into a folder whose name nothing there has.

use super::stage::Source;

/// The configuration of the target; `CHECK` is filled in.
const CONFIG: &str = "\
# The merge train tests every candidate with this before it lands.
[train]
check = [\"sh\", \"CHECK\"]
# Every car by itself: the story is easier to follow.
batch = 1
";

const CHECK: &str = r#"# The check of the merge train: the tests pass, and nothing is left to fix.
cd "$(dirname "$0")" || exit
for test in tests/*.sh; do
    sh "$test" || { echo "$test failed"; exit 1; }
done
if grep -rn FIXME api web docs; then
    echo "there is something left to fix"
    exit 1
fi
echo "all is well"
"#;

const LOGIN: &str = r#"# login USER PASSWORD: lets a user in.
login() {
    echo "welcome $1"
}
"#;

const LOGIN_STRICT: &str = r#"# login USER PASSWORD: lets a user in.
login() {
    [ -n "$2" ] || { echo "no password, no entry" >&2; return 1; }
    echo "welcome $1"
}
"#;

const SEARCH: &str = r#"# search WORD: lists the products that are called so.
search() {
    echo "not yet"
}
"#;

const SEARCH_DONE: &str = r#"# search WORD: lists the products that are called so.
search() {
    printf '%s\n' apples pears plums | grep -i -- "$1"
}
"#;

const LOGIN_TEST: &str =
    "# Whoever has a password is let in.\n. ./api/login.sh\n[ \"$(login ada secret)\" = \"welcome ada\" ]\n";

const LOGIN_TEST_MORE: &str = r#"# Whoever has a password is let in, and is called by name.
. ./api/login.sh
[ "$(login ada secret)" = "welcome ada" ] || exit 1
[ "$(login "ben b." "a b c")" = "welcome ben b." ]
"#;

const THEME: &str = "body { color: black; background: white }\na { color: navy }\n";

const THEME_DARK: &str = "body { color: black; background: white }
a { color: navy }
@media (prefers-color-scheme: dark) {
    body { color: white; background: black }
    /* FIXME: nobody can read navy on black */
}
";

const THEME_READABLE: &str = "body { color: black; background: white }
a { color: navy }
@media (prefers-color-scheme: dark) {
    body { color: white; background: black }
    a { color: lightblue }
}
";

const GUIDE: &str = "# Guide\n\nOpen the shop in a browser.\n";

const GUIDE_DARK: &str = "# Guide\n\nOpen the shop in a browser. At night it is dark.\n";

const GUIDE_SEARCH: &str =
    "# Guide\n\nOpen the shop in a browser. At night it is dark.\n\nSearch for a product by its name.\n";

/// A file and its content.
pub(super) type File = (&'static str, &'static str);

/// What a worker writes for a task.
#[derive(Clone, Copy)]
pub(super) struct Edit {
    /// The files.
    pub files: &'static [File],
    /// What they do to them.
    pub told: &'static str,
    /// The subject of their commit.
    pub subject: &'static str,
}

/// The first, careless version of 101.
pub(super) const DARK: Edit = Edit {
    files: &[("web/theme.css", THEME_DARK), ("docs/guide.md", GUIDE_DARK)],
    told: "adds a dark theme to web/theme.css, and commits it with a FIXME left in it",
    subject: "Add dark mode",
};
/// Its rework.
pub(super) const READABLE: Edit = Edit {
    files: &[("web/theme.css", THEME_READABLE)],
    told: "repairs web/theme.css, and commits",
    subject: "Make links readable in the dark",
};
/// 102.
pub(super) const STRICT: Edit = Edit {
    files: &[("api/login.sh", LOGIN_STRICT)],
    told: "changes api/login.sh, and commits",
    subject: "Refuse logins without a password",
};
/// 103.
pub(super) const FIND: Edit = Edit {
    files: &[("api/search.sh", SEARCH_DONE)],
    told: "changes api/search.sh, and commits",
    subject: "Search products by name",
};
/// 104.
pub(super) const DESCRIBE: Edit = Edit {
    files: &[("docs/guide.md", GUIDE_SEARCH)],
    told: "changes docs/guide.md, which has the dark mode in it now, and commits",
    subject: "Describe the search",
};
/// 105.
pub(super) const TEST: Edit = Edit {
    files: &[("tests/login.sh", LOGIN_TEST_MORE)],
    told: "changes tests/login.sh, and commits",
    subject: "Test names with spaces",
};

/// Where the project is, and whose repository it is in.
pub(super) struct Shop {
    source: Option<Source>,
}

impl Shop {
    /// A repository of its own.
    pub fn new() -> Shop {
        Shop { source: None }
    }

    /// A folder in a scratch clone of `source`.
    pub fn beside(source: Source) -> Shop {
        Shop { source: Some(source) }
    }

    /// The repository that is cloned, where the shop is not its own.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// The folder of the shop in the repository; `None`: the top.
    pub fn folder(&self) -> Option<&str> {
        self.source.as_ref().map(|source| source.free_name.as_str())
    }

    /// A path of the shop, as the repository names it.
    pub fn path(&self, path: &str) -> String {
        self.folder().map_or_else(|| path.to_owned(), |folder| format!("{folder}/{path}"))
    }

    /// The first commit's files, as the repository names them.
    pub fn files(&self) -> Vec<(String, String)> {
        let own = [
            ("check.sh", CHECK),
            ("api/login.sh", LOGIN),
            ("api/search.sh", SEARCH),
            ("web/theme.css", THEME),
            ("docs/guide.md", GUIDE),
            ("tests/login.sh", LOGIN_TEST),
        ];
        let mut files: Vec<(String, String)> =
            own.iter().map(|(path, text)| (self.path(path), (*text).to_owned())).collect();
        files.push((".scrum.toml".to_owned(), CONFIG.replace("CHECK", &self.path("check.sh"))));
        if self.source.is_some() {
            // The repository's own attributes could give the scripts line ends that no shell reads.
            files.push((self.path(".gitattributes"), "* -text\n".to_owned()));
        }
        files
    }
}
