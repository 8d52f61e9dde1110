//! Where the cluster is and who asks: flags, then environment, then the configuration file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::units;

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// A replica's address, such as 127.0.0.1:7443; give several, any one will do [env: HESUAN_ENDPOINTS]
    #[arg(long = "endpoint", global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// File that holds the token [env: HESUAN_TOKEN_FILE, or the token itself in HESUAN_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// How long to go on trying a request (30s unless given), or how long to wait for a job (for ever unless given)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// No progress and no remarks on standard error
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::parse_time(text).map(Duration::from_millis)
}

/// The configuration file, `$XDG_CONFIG_HOME/hesuan/config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    endpoints: Vec<String>,
    token_file: Option<PathBuf>,
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Replicas, as `http://host:port`; never empty.
    pub endpoints: Vec<String>,
    /// The token; `None` when none was configured.
    pub token: Option<String>,
}

impl Settings {
    /// Flags before environment before file.
    ///
    /// # Errors
    /// A file that cannot be read, a key that is not known, an address or token that cannot be one.
    pub fn load(global: &Global, env: &dyn Fn(&str) -> Option<String>) -> Outcome<Self> {
        let file = match config_file(env) {
            Some(path) => read_config(&path)?,
            None => File::default(),
        };
        let listed = |text: String| {
            text.split(',')
                .map(|one| one.trim().to_owned())
                .filter(|one| !one.is_empty())
                .collect()
        };
        let mut endpoints = global.endpoints.clone();
        if endpoints.is_empty() {
            endpoints = env("HESUAN_ENDPOINTS").map(listed).unwrap_or_default();
        }
        if endpoints.is_empty() {
            endpoints = file.endpoints;
        }
        if endpoints.is_empty() {
            endpoints = vec!["127.0.0.1:7443".to_owned()];
        }
        let endpoints = endpoints.iter().map(|one| address(one)).collect::<Outcome<_>>()?;
        let token = match (
            &global.token_file,
            env("HESUAN_TOKEN_FILE"),
            env("HESUAN_TOKEN"),
            file.token_file,
        ) {
            (Some(path), ..) => Some(read_token(path)?),
            (None, Some(path), ..) => Some(read_token(Path::new(&path))?),
            (None, None, Some(token), _) => Some(check_token(&token, "HESUAN_TOKEN")?),
            (None, None, None, Some(path)) => Some(read_token(&path)?),
            (None, None, None, None) => None,
        };
        Ok(Settings { endpoints, token })
    }
}

fn config_file(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = env("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(env("HOME")?).join(".config")))?;
    let path = folder.join("hesuan").join("config.toml");
    path.exists().then_some(path)
}

fn read_config(path: &Path) -> Outcome<File> {
    let text = fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn address(text: &str) -> Outcome<String> {
    let host_and_port = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let good = host_and_port
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if good && !host_and_port.contains(['/', ' ', '@', '?']) {
        return Ok(format!("http://{host_and_port}"));
    }
    Err(Failure::Usage(format!(
        "\"{text}\" is no address of a replica: give host:port, such as 127.0.0.1:7443"
    )))
}

fn read_token(path: &Path) -> Outcome<String> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("the token cannot be read from {}: {error}", path.display())))?;
    check_token(&text, &path.display().to_string())
}

/// What cannot be a token must not be sent as one: it may be another secret.
fn check_token(text: &str, from: &str) -> Outcome<String> {
    let token = text.trim();
    if token.is_empty() || token.len() > 256 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(format!(
            "{from} holds no token: one line such as HESUAN_0123… is expected"
        )));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(global: &Global, env: &[(&str, &str)]) -> Outcome<Settings> {
        Settings::load(global, &|key| {
            env.iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_flag_beats_the_environment_and_that_beats_the_file() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let config = folder.path().join("hesuan");
        fs::create_dir(&config).expect("the folder is writable");
        let token = folder.path().join("token");
        fs::write(&token, "HESUAN_ab12\n").expect("the folder is writable");
        let text = format!("endpoints = [\"file:1\"]\ntoken_file = {token:?}\n");
        fs::write(config.join("config.toml"), text).expect("the folder is writable");
        let home = folder.path().to_str().expect("the path is text");
        let env = [("XDG_CONFIG_HOME", home), ("HESUAN_ENDPOINTS", "env:1, env:2")];

        let from_file = load(&Global::default(), &env[..1]).expect("the file is good");
        assert_eq!(from_file.endpoints, ["http://file:1"]);
        assert_eq!(from_file.token.as_deref(), Some("HESUAN_ab12"));
        let from_env = load(&Global::default(), &env).expect("the environment is good");
        assert_eq!(from_env.endpoints, ["http://env:1", "http://env:2"]);
        let global = Global {
            endpoints: vec!["flag:1".into()],
            ..Global::default()
        };
        assert_eq!(
            load(&global, &env).expect("the flag is good").endpoints,
            ["http://flag:1"]
        );

        fs::write(config.join("config.toml"), "endpoint = \"typo:1\"\n").expect("the folder is writable");
        let failure = load(&Global::default(), &env).expect_err("an unknown key is refused");
        assert!(failure.text().is_some_and(|text| text.contains("endpoint")));
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn what_is_no_address_and_what_is_no_token_is_refused() {
        for endpoint in ["", "hefei", "https://a:1", "a:99999", "http://u@a:1", "a:1/path"] {
            let global = Global {
                endpoints: vec![endpoint.into()],
                ..Global::default()
            };
            assert!(load(&global, &[]).is_err(), "{endpoint}");
        }
        assert!(load(&Global::default(), &[("HESUAN_TOKEN", "two words")]).is_err());
        assert_eq!(
            load(&Global::default(), &[]).expect("defaults").endpoints,
            ["http://127.0.0.1:7443"]
        );
    }
}
