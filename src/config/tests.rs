use super::*;

#[test]
fn every_setting_is_a_flag_with_a_variable_and_stands_in_the_readme() {
    let readme = include_str!("../../README.md");
    let mut command = Config::command();
    command.build();
    for subcommand in command
        .get_subcommands()
        .filter(|one| one.get_name() != "help")
    {
        let settings = subcommand
            .get_arguments()
            .filter(|arg| !arg.is_positional())
            .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
        for setting in settings {
            let flag = setting.get_long().expect("every setting is a flag");
            let variable = setting.get_env().expect(flag).to_str().expect("text");
            assert!(variable.starts_with("REGISTRAR_"), "{variable}");
            let row = format!("| `--{flag}` | `{variable}` |");
            assert!(readme.contains(&row), "README.md lacks {row}");
        }
    }
}

#[test]
fn settings_that_disagree_are_refused() {
    let parse = |flags: &[&str]| {
        let base = ["registrar", "dev"].iter().chain(flags);
        Config::read(base.map(OsString::from))
    };
    assert!(parse(&[]).is_ok());
    for flags in [
        &["--exit"][..],
        &["--check-rate", "0"],
        &["--quota-share", "1.5"],
        &["--database-connections", "1"],
        &["--lease", "20m"],
        &["--look-every", "0s"],
        &["--submissions-at-once", "0"],
        &["--retain-for", "0s"],
        &["--upload-within", "0s"],
        &["--uploads-at-once", "0"],
        &["--max-queued-devices", "99999"],
        &["--simulator-exists", "nonsense"],
        &["--secret-keys", "k1:short"],
        &[
            "--secret-keys-file",
            "keys",
            "--secret-keys-command",
            "cat keys",
        ],
        &["--retain-audit-for", "0s"],
        &["--tls-certificate", "server.pem"],
        &["--tls-client-ca", "ca.pem"],
        &["--access-file", "access.toml", "--submit", "devices.csv"],
    ] {
        assert!(parse(flags).is_err(), "{flags:?}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_1_and_help_with_0() {
    let read = |line: &str| Config::read(line.split(' ').map(OsString::from));
    for line in [
        "registrar",
        "registrar nonsense",
        "registrar check --product-key a1",
        "registrar check devices.csv",
        "registrar check devices.csv --product-key a1 --generate p-{seq} --count 3",
        "registrar check --product-key a1 --generate p-{seq}",
        "registrar check devices.csv --product-key a1 --label lot",
        "registrar get seventeen",
        "registrar get 0",
        "registrar list --status done",
        "registrar list --limit 0",
        "registrar watch 17 --after-revision=-1",
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(refuse(&error), ExitCode::FAILURE, "{line}");
    }
    for line in [
        "registrar --help",
        "registrar check --help",
        "registrar --version",
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(refuse(&error), ExitCode::SUCCESS, "{line}");
    }
    for line in [
        "registrar check - --product-key a1 --label lot=7 --label shift=late --no-watch",
        "registrar check --product-key a1 --generate p-{seq} --count 3 --validate-only",
        "registrar list --status check-failed,CREATE_FAILED --label lot=7",
        "registrar devices 17 --outcome invalid --outcome failed",
    ] {
        assert!(read(line).is_ok(), "{line}");
    }
}
