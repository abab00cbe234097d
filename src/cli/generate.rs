//! `git scrum completions`, `man`: made from the command line's own description.

#![expect(clippy::disallowed_methods, reason = "writes the manual pages where the user wants them")]

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use super::errors::{CliError, exit};
use super::output::Reply;

/// What git's own completion calls for `git scrum`: the words are those of git-scrum with git in front.
const GIT_COMPLETION: &str = r#"
_git_scrum() {
    local COMP_WORDS=("git-scrum" "${COMP_WORDS[@]:2}") COMP_CWORD=$((COMP_CWORD - 1))
    _git__scrum git-scrum "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
}
"#;

/// Where the manual pages come from.
const SOURCE: &str = concat!("git-scrum ", env!("CARGO_PKG_VERSION"));

/// Print the completion script of a shell
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual pages, so that `git scrum --help` finds one
#[derive(clap::Args)]
pub struct ManArgs {
    /// The directory to write them to, e.g. ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs) -> Reply {
    let mut command = Cli::command().bin_name("git-scrum");
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "git-scrum", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if args.shell == Shell::Bash {
        script.push_str(GIT_COMPLETION);
    }
    Reply::new(json!({ "script": script }), script.clone())
}

pub(super) fn man(args: &ManArgs) -> Result<Reply, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("cannot write manual pages to {}: {error}", args.directory.display());
        CliError::new(exit::ENVIRONMENT, "io", message, "name a directory that you may write to")
    };
    std::fs::create_dir_all(&args.directory).map_err(|error| failed(&error))?;
    let mut root = Cli::command().name("git-scrum").bin_name("git-scrum").disable_help_subcommand(true);
    root.build();
    let mut written = Vec::new();
    let mut open = vec![(root, "git-scrum".to_owned())];
    while let Some((command, name)) = open.pop() {
        for sub in command.get_subcommands() {
            open.push((sub.clone(), format!("{name}-{}", sub.get_name())));
        }
        let mut page = Vec::new();
        let titled = command.display_name(name.clone());
        clap_mangen::Man::new(titled)
            .title(name.clone())
            .source(SOURCE)
            .render(&mut page)
            .map_err(|error| failed(&error))?;
        let path = args.directory.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| failed(&error))?;
        written.push(path.to_string_lossy().into_owned());
    }
    written.sort();
    let text = format!("Wrote {} pages to {}\n", written.len(), args.directory.display());
    Ok(Reply::new(json!({ "pages": written }), text))
}
